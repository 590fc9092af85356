package journal

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"slices"

	"github.com/firebreak-sec/firebreak/agent/threat"
)

// A record is one value in the journal. It can be told from anything else, and
// be trusted or not, without what surrounds it: whatever happens to the rest of
// the file, it is still found by its first bytes and proved by its checksum.
//
//	offset  size  what
//	     0     4  magic; never part of JSON text, which has no NUL
//	     4     1  schema
//	     5     1  kind
//	     6     8  number of the write that put it there
//	    14     2  length of the key
//	    16     4  length of the body
//	    20     4  CRC-32C of all but the magic and these four bytes
//	    24        key, then body (JSON)
//
// Numbers are big-endian. The head is the same in every schema, so that each agent
// can tell the records of a newer one from damage.
type record struct {
	schema byte
	kind   kind
	number uint64 // of two records with one key, the higher is the newer
	key    []byte
	body   []byte
}

const (
	magic      = "\x00FBJ"
	headerSize = 24
	// schema is the version of the records this program writes. A record of a
	// higher one was written by a newer agent.
	schema = 1
)

// kind says what a record is about.
type kind byte

// The kinds of record.
const (
	kindAgent   kind = 'a' // what there is one of; the keys are below
	kindThreat  kind = 't' // key is its ID
	kindIntent  kind = 'i' // key is its sequence number, eight bytes
	kindHistory kind = 'h' // likewise
)

// The keys of the records of kindAgent.
const (
	keySchema = "schema" // proves that the journal is whole, empty as it may be
	keyState  = "state"
	keyPolicy = "policy" // the part of the state that is large and hardly ever changes
)

// kinds lists the kinds with the bucket each has.
var kinds = []struct {
	kind   kind
	bucket string
}{
	{kindAgent, "agent"},
	{kindThreat, "threats"},
	{kindIntent, "intents"},
	{kindHistory, "history"},
}

func (k kind) bucket() []byte {
	for _, row := range kinds {
		if row.kind == k {
			return []byte(row.bucket)
		}
	}
	return nil
}

func kindOf(bucket string) kind {
	for _, row := range kinds {
		if row.bucket == bucket {
			return row.kind
		}
	}
	return 0
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (r record) encode() []byte {
	b := make([]byte, headerSize, headerSize+len(r.key)+len(r.body))
	copy(b, magic)
	b[4], b[5] = r.schema, byte(r.kind)
	binary.BigEndian.PutUint64(b[6:], r.number)
	binary.BigEndian.PutUint16(b[14:], uint16(len(r.key)))
	binary.BigEndian.PutUint32(b[16:], uint32(len(r.body)))
	b = append(append(b, r.key...), r.body...)
	binary.BigEndian.PutUint32(b[20:], sum(b))
	return b
}

func sum(b []byte) uint32 {
	return crc32.Update(crc32.Checksum(b[4:20], castagnoli), castagnoli, b[headerSize:])
}

// decode reads the record that b begins with. What it returns points into b.
func decode(b []byte) (record, bool) {
	if len(b) < headerSize || string(b[:4]) != magic {
		return record{}, false
	}
	key := int64(binary.BigEndian.Uint16(b[14:]))
	body := int64(binary.BigEndian.Uint32(b[16:]))
	end := headerSize + key + body
	if end > int64(len(b)) || sum(b[:end]) != binary.BigEndian.Uint32(b[20:]) {
		return record{}, false
	}
	return record{
		schema: b[4],
		kind:   kind(b[5]),
		number: binary.BigEndian.Uint64(b[6:]),
		key:    b[headerSize : headerSize+key],
		body:   b[headerSize+key : end],
	}, true
}

// clone returns the record in memory of its own.
func (r record) clone() record {
	r.key, r.body = slices.Clone(r.key), slices.Clone(r.body)
	return r
}

// mark tells whether the record is the one that every journal has.
func (r record) mark() bool { return r.kind == kindAgent && string(r.key) == keySchema }

// size is how long the encoded record is.
func (r record) size() int { return headerSize + len(r.key) + len(r.body) }

// readable tells whether the record can be used: the body is what the kind says
// and names itself as the key does. One of an older schema is judged when it has
// been brought up to this one.
func (r record) readable() bool {
	if r.schema != schema {
		return r.kind.bucket() != nil
	}
	switch r.kind {
	case kindThreat:
		var t threat.Threat
		return json.Unmarshal(r.body, &t) == nil && t.ID == string(r.key)
	case kindIntent:
		var i Intent
		return json.Unmarshal(r.body, &i) == nil && string(sequenceKey(i.Seq)) == string(r.key)
	case kindHistory:
		var e Entry
		return json.Unmarshal(r.body, &e) == nil && string(sequenceKey(e.Seq)) == string(r.key)
	case kindAgent:
		switch string(r.key) {
		case keyState:
			return json.Unmarshal(r.body, new(State)) == nil
		case keyPolicy:
			return json.Unmarshal(r.body, new([]byte)) == nil
		}
		return json.Valid(r.body)
	}
	return false
}

// sequenceKey is the key of what is numbered; keys sort as their numbers do.
func sequenceKey(seq uint64) []byte { return binary.BigEndian.AppendUint64(nil, seq) }

// sequenceOf returns the number that a key stands for; 0 if it is none.
func sequenceOf(key []byte) uint64 {
	if len(key) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(key)
}
