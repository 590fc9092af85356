package nft

import (
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"
)

// Numbers of the kernel's interface, from linux/netfilter/nfnetlink.h and
// linux/netfilter/nf_tables.h.
const (
	subsystem = 10 // NFNL_SUBSYS_NFTABLES

	headerLen = 4 // struct nfgenmsg
)

// command is one NFT_MSG_*.
type command uint8

const (
	newTable   command = 0
	getTable   command = 1
	delTable   command = 2
	newChain   command = 3
	getChain   command = 4
	delChain   command = 5
	newRule    command = 6
	getRule    command = 7
	delRule    command = 8
	newSet     command = 9
	getSet     command = 10
	delSet     command = 11
	newElement command = 12
	getElement command = 13
	delElement command = 14
	newGen     command = 15
	getGen     command = 16
)

// Attribute numbers; the names after NFTA_ are those of the kernel.
const (
	attrTableName  = 1
	attrTableFlags = 2

	attrChainTable  = 1
	attrChainName   = 3
	attrChainHook   = 4
	attrChainPolicy = 5
	attrChainType   = 7

	attrHookNumber   = 1
	attrHookPriority = 2
	attrHookDevice   = 3
	attrHookDevices  = 4

	attrDeviceName   = 1
	attrDevicePrefix = 2

	attrRuleTable    = 1
	attrRuleChain    = 2
	attrRuleExprs    = 4
	attrRuleUserdata = 7

	attrSetTable   = 1
	attrSetName    = 2
	attrSetFlags   = 3
	attrSetKeyType = 4
	attrSetKeyLen  = 5
	attrSetDesc    = 9
	attrSetID      = 10

	attrDescConcat = 2
	attrFieldLen   = 1

	attrElemsTable = 1
	attrElemsSet   = 2
	attrElemsList  = 3

	attrElemKey     = 1
	attrElemFlags   = 3
	attrElemTimeout = 4
	attrElemLeft    = 5 // NFTA_SET_ELEM_EXPIRATION
	attrElemKeyEnd  = 10

	attrListElem     = 1
	attrDataValue    = 1
	attrDataVerdict  = 2
	attrVerdictCode  = 1
	attrVerdictChain = 2

	attrExprName = 1
	attrExprData = 2

	attrGenID      = 1
	attrGenPID     = 2
	attrGenProcess = 3

	attrAnyTable      = 1 // the same for all things in a table
	attrFlowtableName = 2
)

// Flags of sets and of elements (NFT_SET_*, NFT_SET_ELEM_*).
const (
	setAnonymous = 1
	setInterval  = 4
	setMap       = 8
	setTimeout   = 16
	setConcat    = 128

	elemIntervalEnd = 1
)

// Keys and flags of expressions (NFT_SOCKET_CGROUPV2, NFT_LOOKUP_F_INV).
const (
	socketCgroup   = 3
	lookupInverted = 1
)

// register is the one that every expression works on (NFT_REG_1); verdicts have
// their own (NFT_REG_VERDICT).
const (
	register        = 1
	registerVerdict = 0
)

// verdictJump is the code of a Jump (NFT_JUMP).
const verdictJump = -3

// message builds one request. Its attributes are in network byte order.
func message(c command, family Family, flags netlink.HeaderFlags, fill func(*encoder)) netlink.Message {
	body := encoder{out: append(make([]byte, 0, 512), byte(family), 0, 0, 0)}
	fill(&body)
	if body.tooLong { // a value over 64 kB, which no table of ours can hold
		body.out = body.out[:headerLen]
	}
	return netlink.Message{
		Header: netlink.Header{
			Type:  netlink.HeaderType(subsystem<<8 | int(c)),
			Flags: netlink.Request | flags,
		},
		Data: body.out,
	}
}

// attributes returns a decoder for the body of a message of the kernel.
func attributes(m netlink.Message) (*netlink.AttributeDecoder, error) {
	if len(m.Data) < headerLen {
		return nil, fmt.Errorf("read message: %d bytes are too few", len(m.Data))
	}
	ad, err := netlink.NewAttributeDecoder(m.Data[headerLen:])
	if err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	ad.ByteOrder = binary.BigEndian
	return ad, nil
}
