package apt

import (
	"slices"
	"strings"
)

// phased says that a candidate is rolled out step by step and this host is not yet
// in. A fix of security is for all hosts at once.
func (s *settings) phased(c *choice) bool {
	if c.to.phased >= 100 {
		return false
	}
	for _, v := range c.offered {
		if compare(v.version, c.version) > 0 && compare(v.version, c.to.version) <= 0 &&
			slices.ContainsFunc(v.lists, func(l *list) bool { return l.release != nil && strings.HasSuffix(l.release.suite, "-security") }) {
			return false
		}
	}
	says := func(key string) bool {
		v := s.config.value("apt::get::" + key)
		if v == "" {
			v = s.config.value("update-manager::" + key)
		}
		return yes(v, false)
	}
	switch {
	case says("phase-policy"), says("always-include-phased-updates"):
		return false
	case says("never-include-phased-updates"):
		return true
	case s.machineID == "":
		return false
	}
	return draw(c.to.source+"-"+c.to.sourceVersion+"-"+s.machineID) > uint32(c.to.phased)
}

// draw is the number from 0 to 100 that apt draws for a text. It is that of
// std::seed_seq, std::minstd_rand and std::uniform_int_distribution of libstdc++, in
// that order: every host must draw what apt draws there.
func draw(text string) uint32 {
	const modulus, multiplier = 1<<31 - 1, 48271
	x := uint64(seed([]byte(text))) % modulus
	if x == 0 {
		x = 1
	}
	const scale = (modulus - 2) / 101
	for {
		x = x * multiplier % modulus
		if r := (x - 1) / scale; r < 101 {
			return uint32(r)
		}
	}
}

// seed is the fourth of the four words that std::seed_seq generates: the only one
// that std::minstd_rand uses.
func seed(text []byte) uint32 {
	const n, t, p, q = 4, 1, 1, 2
	mix := func(x uint32) uint32 { return x ^ x>>27 }
	b := [n]uint32{0x8b8b8b8b, 0x8b8b8b8b, 0x8b8b8b8b, 0x8b8b8b8b}
	s := uint32(len(text))
	m := max(s+1, n)
	for k := range m {
		r := 1664525 * mix(b[k%n]^b[(k+p)%n]^b[(k+n-1)%n])
		b[(k+p)%n] += r
		switch {
		case k == 0:
			r += s
		case k <= s:
			r += k%n + uint32(int8(text[k-1]))
		default:
			r += k % n
		}
		b[(k+q)%n] += r
		b[k%n] = r
	}
	for k := m; k < m+n; k++ {
		r := 1566083941 * mix(b[k%n]+b[(k+p)%n]+b[(k+n-1)%n])
		b[(k+p)%n] ^= r
		r -= k % n
		b[(k+q)%n] ^= r
		b[k%n] = r
	}
	return b[3]
}
