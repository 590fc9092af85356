package agent

import (
	"crypto/sha256"
	"encoding/json"
	"math/bits"
	"time"

	"github.com/firebreak-sec/firebreak/agent/threat"
)

// digest identifies what of a threat is worth a write to disk: everything but
// when it was last seen, and by which process or socket. Of how often it came and
// went, the size is enough.
func digest(t threat.Threat) [sha256.Size]byte {
	t.LastSeen, t.FlappedAt, t.Flaps = time.Time{}, time.Time{}, bits.Len(uint(t.Flaps))
	if t.Subject.Port != nil {
		port := *t.Subject.Port
		port.PID, port.Sockets = 0, nil
		t.Subject.Port = &port
	}
	data, err := json.Marshal(t)
	if err != nil {
		return [sha256.Size]byte{}
	}
	return sha256.Sum256(data)
}
