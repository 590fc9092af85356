package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.etcd.io/bbolt"
)

// TestPagesInACircle has a branch page with 200 children that are all itself.
func TestPagesInACircle(t *testing.T) {
	b := make([]byte, 4*4096)
	word, half := binary.NativeEndian.PutUint64, binary.NativeEndian.PutUint32
	for i := range 2 {
		m := b[i*4096+pageHeader:]
		half(m, boltMagic)
		half(m[4:], boltVersion)
		half(m[8:], 4096)
		word(m[16:], 3)
		word(m[32:], 2)
		word(m[40:], 4)
		word(m[48:], uint64(i))
	}
	seal(b)
	branch := b[3*4096:]
	word(branch, 3)
	half(branch[8:], flagBranch|200<<16)
	const keys = pageHeader + 200*element // where the keys stand, a byte each
	for i := range 200 {
		at := pageHeader + i*element
		half(branch[at:], uint32(keys+i-at))
		half(branch[at+4:], 1)
		word(branch[at+8:], 3)
		branch[keys+i] = byte(i + 1)
	}
	if s := inspect(bytes.NewReader(b), int64(len(b)), false); s.fault == nil {
		t.Error("got no fault")
	}
}

func TestBoltIsNeverGivenAnUnsoundFile(t *testing.T) {
	dir := t.TempDir()
	good := sample(t, filepath.Join(dir, "j.db"))
	rnd := rand.New(rand.NewPCG(5, 6))
	passed := 0
	for range 150 {
		bad := slices.Clone(good)
		for range 1 + rnd.IntN(3) {
			bad[rnd.IntN(len(bad))] ^= 1 << rnd.IntN(8)
		}
		s := inspect(bytes.NewReader(bad), int64(len(bad)), true)
		if s.fault != nil || s.newer {
			continue
		}
		passed++
		path := filepath.Join(dir, "flipped.db")
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := bbolt.Open(path, 0o600, options())
		if err != nil {
			t.Fatal(err)
		}
		err = db.View(func(tx *bbolt.Tx) (err error) {
			for e := range tx.Check() {
				err = errors.Join(err, e)
			}
			return err
		})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Error(err)
		}
	}
	if passed == 0 || passed == 150 {
		t.Errorf("%d of 150 passed: the test shows nothing", passed)
	}
}

// FuzzJournal overwrites parts of a sound journal, or cuts it, or takes the input
// for one. The agent must get a journal that works, whatever it finds.
func FuzzJournal(f *testing.F) {
	good := sample(f, filepath.Join(f.TempDir(), "j.db"))
	f.Add(uint32(0), uint32(0), []byte{1}, false)
	f.Add(uint32(16), uint32(0), []byte{0xff, 0xff, 0xff, 0xff}, true)
	f.Add(uint32(4*4096+8), uint32(0), []byte{2, 0, 255, 255}, false)
	f.Add(uint32(5*4096+16), uint32(0), []byte{0, 0, 0, 0, 255, 255, 255, 255}, false)
	f.Add(uint32(0), uint32(9000), []byte{}, false)
	f.Add(uint32(0), uint32(1), []byte("garbage"), false)
	f.Fuzz(func(t *testing.T, at, cut uint32, patch []byte, sealed bool) {
		bad := slices.Clone(good)
		copy(bad[int(at)%len(bad):], patch)
		if sealed {
			seal(bad)
		}
		if cut > 0 {
			bad = bad[:int(cut)%len(bad)]
		}
		path := filepath.Join(t.TempDir(), "j.db")
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		usable(t, open(t, path, Limits{}))
	})
}

// seal gives the meta pages right checksums, so that what they say is believed.
func seal(b []byte) {
	for _, at := range []int{0, 4096} {
		m := b[at+pageHeader : at+pageHeader+metaSize]
		hash := fnv.New64a()
		hash.Write(m[:metaSize-8])
		binary.NativeEndian.PutUint64(m[metaSize-8:], hash.Sum64())
	}
}

// FuzzInspect is FuzzJournal without a disk: the look at a file must end, and
// must not trust it.
func FuzzInspect(f *testing.F) {
	good := sample(f, filepath.Join(f.TempDir(), "j.db"))
	f.Add(uint32(4096+pageHeader+16), []byte{3, 0, 0, 0, 0, 0, 0, 0})
	f.Add(uint32(2*4096+10), []byte{0xff, 0xff})
	f.Add(uint32(3*4096+8), []byte{1, 0, 9, 0})
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		bad := slices.Clone(good)
		copy(bad[int(at)%len(bad):], patch)
		seal(bad)
		s := inspect(bytes.NewReader(bad), int64(len(bad)), true)
		found, _ := salvage(bytes.NewReader(bad), int64(len(bad)), s.pages)
		if s.fault == nil && len(found.records) < len(s.records) {
			t.Errorf("salvage found %d records of a sound journal; want %d", len(found.records), len(s.records))
		}
	})
}
