package threat

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
)

// letters are the characters of an ID: no two of them look alike in print or
// sound alike on a bad line (5 and 9, B and 8, M and N, F and S, ...).
const letters = "2346789HKMPQRWXY"

// NewID returns the ID of the threat with that key: "T-" and four characters.
// It depends on the key alone, unless another threat has taken it already, so
// `firebreak check` and the agent call the same threat by the same name.
func NewID(key string, taken func(id string) bool) string {
	for i := 0; ; i++ {
		sum := sha256.Sum256([]byte(key + "\x00" + strconv.Itoa(i)))
		n := binary.BigEndian.Uint16(sum[:])
		id := []byte("T-")
		for shift := 12; shift >= 0; shift -= 4 {
			id = append(id, letters[n>>shift&15])
		}
		if !taken(string(id)) {
			return string(id)
		}
	}
}
