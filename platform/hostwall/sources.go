package hostwall

import (
	"net/netip"
	"slices"
)

// span is a run of addresses of one family, both ends included.
type span struct{ first, last netip.Addr }

// sources is a set of addresses of one family: spans in ascending order that do
// not touch each other. A packet stands for all packets that differ only in their
// source, so a rule splits such a set instead of guessing.
type sources []span

func (s sources) empty() bool { return len(s) == 0 }

// everyone is all addresses of a family.
func everyone(v6 bool) sources { return sources{prefix("0.0.0.0/0", "::/0", v6)} }

// local is what can be the source of a packet on a network that this computer is
// directly on, whichever network that is at the moment.
func local(v6 bool) sources {
	if v6 {
		return union(spanned("::/128"), spanned("fc00::/7"), spanned("fe80::/10"))
	}
	return union(spanned("0.0.0.0/8"), spanned("10.0.0.0/8"), spanned("169.254.0.0/16"),
		spanned("172.16.0.0/12"), spanned("192.168.0.0/16"))
}

// remote is every other address that a packet from outside can come from.
func remote(v6 bool) sources {
	never := union(spanned("127.0.0.0/8"), spanned("224.0.0.0/4"))
	if v6 {
		never = union(spanned("::1/128"), spanned("ff00::/8"))
	}
	return everyone(v6).minus(union(local(v6), never))
}

func spanned(text string) sources { return sources{prefix(text, text, false)} }

func prefix(v4, v6 string, six bool) span {
	text := v4
	if six {
		text = v6
	}
	p := netip.MustParsePrefix(text)
	return span{p.Addr(), lastOf(p)}
}

func lastOf(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b) // as long as the address it comes from
	return last
}

// union puts sets of one family together.
func union(sets ...sources) sources {
	filled := 0
	var all sources
	for _, s := range sets {
		if len(s) > 0 {
			filled++
			all = append(all, s...)
		}
	}
	if filled < 2 {
		return all
	}
	slices.SortFunc(all, func(a, b span) int { return a.first.Compare(b.first) })
	out := all[:1]
	for _, s := range all[1:] {
		end := &out[len(out)-1].last
		next := end.Next()
		switch {
		case next.IsValid() && next.Less(s.first):
			out = append(out, s)
		case end.Less(s.last):
			*end = s.last
		}
	}
	return out
}

// both is the addresses that are in each of two sets.
func (s sources) both(other sources) sources {
	var out sources
	for i, j := 0, 0; i < len(s) && j < len(other); {
		first, last := later(s[i].first, other[j].first), earlier(s[i].last, other[j].last)
		if !last.Less(first) {
			out = append(out, span{first, last})
		}
		if s[i].last.Less(other[j].last) {
			i++
		} else {
			j++
		}
	}
	return out
}

// minus is the addresses of s that are not in other.
func (s sources) minus(other sources) sources {
	var out sources
	j := 0
	for _, rest := range s {
		for j < len(other) && other[j].last.Less(rest.first) {
			j++
		}
		left := true
		for k := j; left && k < len(other) && !rest.last.Less(other[k].first); k++ {
			if rest.first.Less(other[k].first) {
				out = append(out, span{rest.first, other[k].first.Prev()})
			}
			if rest.first = other[k].last.Next(); !rest.first.IsValid() || rest.last.Less(rest.first) {
				left = false
			}
		}
		if left {
			out = append(out, rest)
		}
	}
	return out
}

func later(a, b netip.Addr) netip.Addr {
	if a.Less(b) {
		return b
	}
	return a
}

func earlier(a, b netip.Addr) netip.Addr {
	if a.Less(b) {
		return a
	}
	return b
}
