package platform

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

func TestReadTable(t *testing.T) {
	bytes := func(s string) []byte {
		b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	tests := []struct {
		name string
		form tableForm
		data string
		want string
	}{
		{"none", tcp4Row, "00000000", ""},
		{"two of TCP", tcp4Row, "02000000" +
			"02000000 00000000 01bd0000 00000000 00000000 04000000" +
			"02000000 7f000001 1f900000 00000000 00000000 d2040000", "0.0.0.0:445 4, 127.0.0.1:8080 1234"},
		{"TCP over IPv6", tcp6Row, "01000000" +
			"00000000000000000000000000000000 00000000 01bd0000 00000000000000000000000000000000 00000000 00000000 02000000 04000000", "[::]:445 4"},
		{"with a scope", tcp6Row, "01000000" +
			"fe800000000000000000000000000001 0b000000 01bd0000 00000000000000000000000000000000 00000000 00000000 02000000 04000000", "[fe80::1%11]:445 4"},
		{"UDP", udp4Row, "01000000 00000000 14e90000 d2040000", "0.0.0.0:5353 1234"},
		{"UDP over IPv6", udp6Row, "01000000 00000000000000000000000000000001 00000000 14e90000 d2040000", "[::1]:5353 1234"},
		{"more rows than there are", udp4Row, "02000000 00000000 14e90000 d2040000", "error"},
		{"far more", udp4Row, "ffffffff 00000000 14e90000 d2040000", "error"},
		{"no table", udp4Row, "0100", "error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rows, err := tt.form.readTable(bytes(tt.data))
			var all []string
			for _, r := range rows {
				all = append(all, fmt.Sprintf("%s %d", r.local, r.pid))
			}
			got := strings.Join(all, ", ")
			if err != nil {
				got = "error"
			}
			if got != tt.want {
				t.Errorf("got %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

func TestServesUDP(t *testing.T) {
	for port, want := range map[uint16]bool{0: false, 53: true, 5353: true, 49151: true, 49152: false, 65535: false} {
		if got := servesUDP(port); got != want {
			t.Errorf("port %d: got %v", port, got)
		}
	}
}

func TestKernelService(t *testing.T) {
	for _, tt := range []struct {
		pid      int
		protocol Protocol
		port     uint16
		want     string
	}{
		{systemPID, TCP, 445, "LanmanServer"},
		{systemPID, UDP, 137, "LanmanServer"},
		{systemPID, TCP, 5985, "HTTP"},
		{systemPID, UDP, 500, ""},
		{1234, TCP, 445, ""},
	} {
		if got := kernelService(tt.pid, tt.protocol, tt.port); got != tt.want {
			t.Errorf("process %d, %s %d: got %q, want %q", tt.pid, tt.protocol, tt.port, got, tt.want)
		}
	}
}
