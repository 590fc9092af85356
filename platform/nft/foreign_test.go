package nft

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/netlink"
)

// What this package writes is read as that of a stranger, expression by expression.
func TestDecodeForeign(t *testing.T) {
	table := everything()
	k, chain, exprs, err := decodeForeignRule(encodeRule(&table, "in", NewRule("a note", TCPDest.Is(Port(22)), Then(Accept))))
	if err != nil || k != table.Key() || chain != "in" {
		t.Fatalf("got %v, %q, %v", k, chain, err)
	}
	var names []string
	for _, e := range exprs {
		names = append(names, e.Name)
	}
	if d := cmp.Diff([]string{"meta", "cmp", "payload", "cmp", "immediate"}, names); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	want := map[string]string{
		"lease": "4 [] true: ",
		"ports": "2 [] false: 0016-0016 0017-0019 ea60-ffff ",
		"peers": "12 [4 1 2] false: 0a0000000600000001bb0000-0affffff0600000001bc0000 ",
		"six":   "16 [] false: 01010101010101010101010101010101-01010101010101010101010101010101 ",
	}
	for i, s := range table.Sets {
		k, got, interval, err := decodeForeignSet(encodeSet(&table, s, uint32(i)))
		if err != nil || k != table.Key() {
			t.Fatalf("set %s: %v, %v", s.Name, k, err)
		}
		bounds, err := decodeForeignElements(encodeElements(newElement, &table, s, s.Elements))
		if err != nil {
			t.Fatal(err)
		}
		text := fmt.Sprintf("%d %v %t: ", got.Len, got.Fields, got.Changing)
		if !got.Changing {
			for _, e := range foreignElements(bounds, interval) {
				text += fmt.Sprintf("%x-%x ", e.First, e.Last)
			}
		}
		if text != want[got.Name] {
			t.Errorf("set %s: got %q; want %q", got.Name, text, want[got.Name])
		}
	}
}

func TestForeignElements(t *testing.T) {
	at := func(port uint16, isEnd bool) foreignBoundary {
		return foreignBoundary{ForeignElement: ForeignElement{First: Port(port)}, isEnd: isEnd}
	}
	all := foreignBoundary{ForeignElement: ForeignElement{CatchAll: true}}
	tests := []struct {
		name     string
		bounds   []foreignBoundary
		interval bool
		want     string
	}{
		{"plain", []foreignBoundary{at(80, false), at(22, false)}, false, "0016-0016 0050-0050 "},
		{"spans in any order", []foreignBoundary{at(26, true), at(80, false), at(20, false), at(81, true)}, true, "0014-0019 0050-0050 "},
		{"spans that touch", []foreignBoundary{at(20, false), at(30, true), at(30, false), at(40, true)}, true, "0014-001d 001e-0027 "},
		{"to the end", []foreignBoundary{at(60000, false)}, true, "ea60-ffff "},
		{"what begins below all", []foreignBoundary{at(0, true), at(20, false), at(30, true)}, true, "0014-001d "},
		{"all others", []foreignBoundary{at(22, false), all}, false, "- 0016-0016 "},
	}
	for _, test := range tests {
		got := ""
		for _, e := range foreignElements(test.bounds, test.interval) {
			got += fmt.Sprintf("%x-%x ", e.First, e.Last)
		}
		if got != test.want {
			t.Errorf("%s: got %q; want %q", test.name, got, test.want)
		}
	}
}

func FuzzDecodeForeign(f *testing.F) {
	table := everything()
	for _, c := range table.Chains {
		for _, r := range c.Rules {
			f.Add(encodeRule(&table, c.Name, r).Data)
		}
	}
	for _, s := range table.Sets {
		f.Add(encodeSet(&table, s, 1).Data)
		f.Add(encodeElements(newElement, &table, s, s.Elements).Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		m := netlink.Message{Data: data}
		_, _, _, _ = decodeForeignRule(m)
		_, s, _, err := decodeForeignSet(m)
		for _, n := range append(s.Fields, s.Len) {
			if err == nil && (n < 0 || n > 64) {
				t.Errorf("a key of %d bytes", n)
			}
		}
		bounds, _ := decodeForeignElements(m)
		for _, interval := range []bool{false, true} {
			for _, e := range foreignElements(bounds, interval) {
				if !e.CatchAll && e.Last == nil && len(e.First) > 0 {
					t.Errorf("%x has no end", e.First)
				}
			}
		}
	})
}
