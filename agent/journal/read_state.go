package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// ReadState reads what the agent must remember while no agent runs (else
// ErrInUse), and changes nothing. It is quick, since it proves only what it reads,
// and reads more journals than OpenReadOnly: those of an older agent, and of a
// damaged one what is left. That comes together with ErrDamaged, and may be the
// state of some time before the last.
func ReadState(path string) (State, error) {
	f, err := hold(path, false)
	if err != nil {
		return State{}, fmt.Errorf("open journal: %w", err)
	}
	defer f.Close()
	s, err := readState(f)
	if err != nil {
		return s, fmt.Errorf("read journal: %w", err)
	}
	return s, nil
}

func readState(f *os.File) (State, error) {
	info, err := f.Stat()
	if err != nil {
		return State{}, err
	}
	records, from, fault := agentRecords(f, info.Size())
	if fault != nil {
		found, newer := salvage(f, info.Size(), inspect(f, info.Size(), false).pages)
		if newer {
			return State{}, ErrNewer
		}
		records, from = found.records, schema
		fault = fmt.Errorf("%w: %w", ErrDamaged, fault)
	}
	if from > schema {
		return State{}, ErrNewer
	}
	if records, err = migrate(records, from, migrations); err != nil {
		return State{}, err
	}
	s, err := stateIn(records)
	if err != nil {
		return State{}, err
	}
	return s, fault
}

// agentRecords reads the records of kindAgent, and which schema they have.
func agentRecords(f *os.File, size int64) (records []record, from byte, fault error) {
	if size > largestFile {
		return nil, 0, fmt.Errorf("%d bytes are more than a journal has", size)
	}
	p, err := openPages(f, size)
	if err != nil {
		return nil, 0, err
	}
	fault = p.walkOne(string(kindAgent.bucket()), func(i item) {
		r, ok := decode(i.value)
		if !ok || r.size() != len(i.value) || r.kind != kindAgent || string(r.key) != string(i.key) {
			p.fault(true, errors.New("a record of the agent is damaged"))
			return
		}
		from = max(from, r.schema)
		records = append(records, r.clone())
	})
	if fault == nil && from == 0 {
		fault = errors.New("it says no schema")
	}
	return records, from, fault
}

// stateIn is the state that records of this schema speak of.
func stateIn(records []record) (State, error) {
	var s State
	var policy []byte
	for _, r := range records {
		var into any
		switch {
		case r.kind != kindAgent:
			continue
		case string(r.key) == keyState:
			into = &s
		case string(r.key) == keyPolicy:
			into = &policy
		default:
			continue
		}
		if err := json.Unmarshal(r.body, into); err != nil {
			return State{}, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	s.Policy = policy
	return s, nil
}
