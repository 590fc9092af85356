package platform

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"time"
)

// supervisordLine asks one supervisord through its socket, by XML-RPC.
type supervisordLine struct {
	client         *http.Client
	user, password string
}

const (
	// maxSupervisordAnswer is how many bytes an answer may have.
	maxSupervisordAnswer = 4 << 20
	// supervisordPatience is longer than supervisord waits for a program to stop
	// before it kills it, unless it is told otherwise.
	supervisordPatience = 30 * time.Second
)

// supervisordProcess is one process as supervisord tells it.
type supervisordProcess struct {
	group, name string
	pid         int // 0 if it does not run
	active      bool
}

// errFault is an error that supervisord itself answers with.
type errFault struct {
	code int
	text string
}

func (e errFault) Error() string { return fmt.Sprintf("supervisord refuses: %s", printable(e.text)) }

// The faults that say that there is nothing to do.
const (
	faultAlreadyStarted = 60
	faultNotRunning     = 70
)

// dialSupervisord returns a line to a socket that only root could have made; it
// returns ErrGone if nobody answers there.
func dialSupervisord(ctx context.Context, c supervisordConfig) (supervisordLine, error) {
	dir, err := rootFolder(filepath.Dir(c.socket))
	if err != nil {
		return supervisordLine{}, err
	}
	defer dir.Close()
	path := filepath.Join(dir.Name(), filepath.Base(c.socket))
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		conn, err := dialLocal(ctx, path)
		if err != nil {
			return nil, err
		}
		if err := ranBy(conn, 0); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
		return conn, nil
	}
	conn, err := dial(ctx, "", "")
	if err != nil {
		return supervisordLine{}, err
	}
	client := &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}, Timeout: supervisordPatience}
	return supervisordLine{client, c.user, c.password}, conn.Close()
}

// xmlValue is a value of XML-RPC, of the kinds that supervisord answers with.
type xmlValue struct {
	Text    string      `xml:"string"`
	Int     int         `xml:"int"`
	Boolean int         `xml:"boolean"`
	Array   []xmlValue  `xml:"array>data>value"`
	Members []xmlMember `xml:"struct>member"`
}

type xmlMember struct {
	Name  string   `xml:"name"`
	Value xmlValue `xml:"value"`
}

func (v xmlValue) member(name string) xmlValue {
	for _, m := range v.Members {
		if m.Name == name {
			return m.Value
		}
	}
	return xmlValue{}
}

type xmlCall struct {
	XMLName xml.Name `xml:"methodCall"`
	Method  string   `xml:"methodName"`
	// Params is there without any too: supervisord refuses a call that has none.
	Params struct {
		All []xmlString `xml:"param"`
	} `xml:"params"`
}

type xmlString struct {
	Text string `xml:"value>string"`
}

type xmlAnswer struct {
	XMLName xml.Name  `xml:"methodResponse"`
	Params  []xmlSlot `xml:"params>param"`
	Fault   *xmlSlot  `xml:"fault"`
}

type xmlSlot struct {
	Value xmlValue `xml:"value"`
}

func (s supervisordLine) call(ctx context.Context, method string, params ...string) (xmlValue, error) {
	body, err := supervisordCall(method, params...)
	if err != nil {
		return xmlValue{}, fmt.Errorf("ask supervisord: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://supervisor/RPC2", bytes.NewReader(body))
	if err != nil {
		return xmlValue{}, fmt.Errorf("ask supervisord: %w", err)
	}
	request.Header.Set("Content-Type", "text/xml")
	if s.user != "" {
		request.SetBasicAuth(s.user, s.password)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return xmlValue{}, fmt.Errorf("ask supervisord: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return xmlValue{}, fmt.Errorf("ask supervisord: it answers %s", response.Status)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, maxSupervisordAnswer))
	if err != nil {
		return xmlValue{}, fmt.Errorf("ask supervisord: %w", err)
	}
	return parseSupervisordAnswer(data)
}

func supervisordCall(method string, params ...string) ([]byte, error) {
	call := xmlCall{Method: "supervisor." + method}
	for _, p := range params {
		call.Params.All = append(call.Params.All, xmlString{p})
	}
	return xml.Marshal(call)
}

func parseSupervisordAnswer(data []byte) (xmlValue, error) {
	var answer xmlAnswer
	if err := xml.Unmarshal(data, &answer); err != nil {
		return xmlValue{}, fmt.Errorf("read supervisord's answer: %w", err)
	}
	if answer.Fault != nil {
		return xmlValue{}, errFault{answer.Fault.Value.member("faultCode").Int, answer.Fault.Value.member("faultString").Text}
	}
	if len(answer.Params) != 1 {
		return xmlValue{}, fmt.Errorf("read supervisord's answer: %d values", len(answer.Params))
	}
	return answer.Params[0].Value, nil
}

func (s supervisordLine) processes(ctx context.Context) ([]supervisordProcess, error) {
	answer, err := s.call(ctx, "getAllProcessInfo")
	if err != nil {
		return nil, err
	}
	var all []supervisordProcess
	for _, v := range answer.Array {
		p := supervisordProcess{group: v.member("group").Text, name: v.member("name").Text, pid: v.member("pid").Int}
		switch v.member("statename").Text {
		case "STARTING", "RUNNING", "BACKOFF":
			p.active = true
		}
		all = append(all, p)
	}
	return all, nil
}

// ask calls a method that has nothing to tell. The faults are no errors.
func (s supervisordLine) ask(ctx context.Context, none int, method string, params ...string) error {
	_, err := s.call(ctx, method, params...)
	var fault errFault
	if errors.As(err, &fault) && fault.code == none {
		return nil
	}
	return err
}
