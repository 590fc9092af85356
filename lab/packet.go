//go:build linux

package lab

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Packet is one frame on a wire, or one IP packet that reached a program. What a
// frame does not have is zero.
type Packet struct {
	At    time.Time // by the kernel
	Place string    // where it was seen
	Out   bool      // it came from the host; else it reached the host or what is in it

	VLANs     []uint16
	EtherType uint16
	From, To  netip.Addr
	Protocol  byte // after the extension headers of IPv6
	HopLimit  byte
	Later     bool // a fragment that is not the first, so it has no ports
	FromPort  uint16
	ToPort    uint16
	Flags     byte // of TCP
	Type      byte // of ICMP
	Code      byte
	Broken    bool   // it cannot be read
	Data      []byte // from its network header on, cut off
}

// Numbers of the protocols that the lab reads.
const (
	etherIPv4  = 0x0800
	etherIPv6  = 0x86dd
	etherARP   = 0x0806
	etherEAPOL = 0x888e
	etherVLAN  = 0x8100
	etherQinQ  = 0x88a8

	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58

	tcpSYN = 0x02
	tcpRST = 0x04
	tcpACK = 0x10
)

// readFrame reads an Ethernet frame.
func readFrame(frame []byte) Packet {
	if len(frame) < 14 {
		return Packet{Broken: true, Data: frame}
	}
	p := Packet{EtherType: binary.BigEndian.Uint16(frame[12:])}
	rest := frame[14:]
	for p.EtherType == etherVLAN || p.EtherType == etherQinQ {
		if len(rest) < 4 {
			p.Broken = true
			return p
		}
		p.VLANs = append(p.VLANs, binary.BigEndian.Uint16(rest)&0x0fff)
		p.EtherType, rest = binary.BigEndian.Uint16(rest[2:]), rest[4:]
	}
	p.readNetwork(rest)
	return p
}

func (p *Packet) readNetwork(data []byte) {
	p.Data = data
	switch p.EtherType {
	case etherIPv4:
		p.readIPv4(data)
	case etherIPv6:
		p.readIPv6(data)
	}
}

func (p *Packet) readIPv4(data []byte) {
	if len(data) < 20 || data[0]>>4 != 4 || int(data[0]&15)*4 > len(data) || data[0]&15 < 5 {
		p.Broken = true
		return
	}
	p.From, p.To = netip.AddrFrom4([4]byte(data[12:])), netip.AddrFrom4([4]byte(data[16:]))
	p.Protocol, p.HopLimit = data[9], data[8]
	p.Later = binary.BigEndian.Uint16(data[6:])&0x1fff != 0
	p.readTransport(data[int(data[0]&15)*4:])
}

func (p *Packet) readIPv6(data []byte) {
	if len(data) < 40 || data[0]>>4 != 6 {
		p.Broken = true
		return
	}
	p.From, p.To = netip.AddrFrom16([16]byte(data[8:])), netip.AddrFrom16([16]byte(data[24:]))
	p.HopLimit = data[7]
	next, rest := data[6], data[40:]
	for {
		length := 0
		switch next {
		case 0, 43, 60: // hop by hop, routing, destination options
			if len(rest) >= 2 {
				length = 8 * (int(rest[1]) + 1)
			}
		case 44: // fragment
			length = 8
			if len(rest) >= 4 {
				p.Later = p.Later || binary.BigEndian.Uint16(rest[2:])&0xfff8 != 0
			}
		default:
			p.Protocol = next
			p.readTransport(rest)
			return
		}
		if length == 0 || len(rest) < length {
			p.Broken = true
			return
		}
		next, rest = rest[0], rest[length:]
		if p.Later {
			p.Protocol = next
			return
		}
	}
}

func (p *Packet) readTransport(data []byte) {
	if p.Later {
		return
	}
	need := map[byte]int{protoTCP: 14, protoUDP: 8, protoICMP: 4, protoICMPv6: 4}[p.Protocol]
	if len(data) < need {
		p.Broken = true
		return
	}
	switch p.Protocol {
	case protoTCP:
		p.Flags = data[13]
		fallthrough
	case protoUDP:
		p.FromPort, p.ToPort = binary.BigEndian.Uint16(data), binary.BigEndian.Uint16(data[2:])
	case protoICMP, protoICMPv6:
		p.Type, p.Code = data[0], data[1]
	}
}

// Holds tells whether the bytes are somewhere in what was kept of the packet.
func (p Packet) Holds(mark []byte) bool { return bytes.Contains(p.Data, mark) }

// String writes a packet as a person reads it.
func (p Packet) String() string {
	var b strings.Builder
	way := "in"
	if p.Out {
		way = "out"
	}
	fmt.Fprintf(&b, "%s %s %s", p.At.Format("15:04:05.000000"), p.Place, way)
	for _, id := range p.VLANs {
		fmt.Fprintf(&b, " vlan %d", id)
	}
	switch {
	case p.Broken:
		fmt.Fprintf(&b, " broken %04x % x", p.EtherType, p.Data[:min(len(p.Data), 48)])
	case !p.From.IsValid():
		fmt.Fprintf(&b, " ethertype %04x % x", p.EtherType, p.Data[:min(len(p.Data), 16)])
	case p.Later:
		fmt.Fprintf(&b, " %s > %s protocol %d, later fragment", p.From, p.To, p.Protocol)
	case p.Protocol == protoTCP:
		fmt.Fprintf(&b, " %s > %s tcp flags %#02x", netip.AddrPortFrom(p.From, p.FromPort), netip.AddrPortFrom(p.To, p.ToPort), p.Flags)
	case p.Protocol == protoUDP:
		fmt.Fprintf(&b, " %s > %s udp", netip.AddrPortFrom(p.From, p.FromPort), netip.AddrPortFrom(p.To, p.ToPort))
	case p.Protocol == protoICMP, p.Protocol == protoICMPv6:
		fmt.Fprintf(&b, " %s > %s icmp %d/%d, hop limit %d", p.From, p.To, p.Type, p.Code, p.HopLimit)
	default:
		fmt.Fprintf(&b, " %s > %s protocol %d", p.From, p.To, p.Protocol)
	}
	return b.String()
}
