package rpm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// writeAheadLog is what was written to a database and is not in its file yet.
type writeAheadLog struct {
	file      io.ReaderAt
	pageSize  int
	committed uint32           // how many pages the database has; 0 if the log is empty
	at        map[uint32]int64 // of each page, where its newest committed version lies
}

// readLog reads the log beside a database. Frames after the last commit, and
// frames left over from an earlier use of the file, are not part of it: their salt
// or their checksum does not fit.
func readLog(file io.ReaderAt, size int64) (writeAheadLog, error) {
	l := writeAheadLog{file: file, at: map[uint32]int64{}}
	if size == 0 {
		return l, nil
	}
	var head [32]byte
	if _, err := file.ReadAt(head[:], 0); err != nil {
		return l, fmt.Errorf("sqlite log: %w", err)
	}
	magic := binary.BigEndian.Uint32(head[:])
	if magic&^1 != 0x377f0682 || binary.BigEndian.Uint32(head[4:]) != 3007000 {
		return l, errors.New("not a log of sqlite")
	}
	l.pageSize = int(binary.BigEndian.Uint32(head[8:]))
	if l.pageSize < 512 || l.pageSize > 1<<16 || l.pageSize&(l.pageSize-1) != 0 {
		return l, fmt.Errorf("sqlite log: pages of %d bytes", l.pageSize)
	}
	var order binary.ByteOrder = binary.LittleEndian
	if magic&1 == 1 {
		order = binary.BigEndian
	}
	sum := checksum{}.add(order, head[:24])
	if sum != sumAt(head[24:]) {
		return l, nil // begun and not finished: nothing is committed
	}
	frame, pending := make([]byte, 24+l.pageSize), map[uint32]int64{}
	for at := int64(32); at+int64(len(frame)) <= size; at += int64(len(frame)) {
		if _, err := file.ReadAt(frame, at); err != nil {
			return l, fmt.Errorf("sqlite log: %w", err)
		}
		sum = sum.add(order, frame[:8]).add(order, frame[24:])
		if string(frame[8:16]) != string(head[16:24]) || sum != sumAt(frame[16:]) {
			break
		}
		pending[binary.BigEndian.Uint32(frame)] = at + 24
		if n := binary.BigEndian.Uint32(frame[4:]); n != 0 {
			l.committed = n
			for page, at := range pending {
				l.at[page] = at
			}
			clear(pending)
		}
	}
	return l, nil
}

// checksum is the running sum of a log, over everything in it so far.
type checksum struct{ a, b uint32 }

func (s checksum) add(order binary.ByteOrder, b []byte) checksum {
	for ; len(b) >= 8; b = b[8:] {
		s.a += order.Uint32(b) + s.b
		s.b += order.Uint32(b[4:]) + s.a
	}
	return s
}

func sumAt(b []byte) checksum {
	return checksum{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}
