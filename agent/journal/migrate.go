package journal

import "fmt"

// migration brings the records of one schema up to the next.
type migration func([]record) ([]record, error)

// migrations has, at index n, the one from schema n+1 to n+2. There is none yet:
// 1 is the first schema.
var migrations = []migration{}

// migrate brings records of an older schema up to the one after the last of
// steps.
func migrate(records []record, from byte, steps []migration) ([]record, error) {
	if from == 0 {
		return nil, fmt.Errorf("%w: there is no schema 0", ErrDamaged)
	}
	for n := int(from) - 1; n < len(steps); n++ {
		var err error
		if records, err = steps[n](records); err != nil {
			return nil, fmt.Errorf("bring journal from schema %d to %d: %w", n+1, n+2, err)
		}
		for i := range records {
			records[i].schema = byte(n + 2)
		}
	}
	return records, nil
}
