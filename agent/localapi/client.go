package localapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/platform"
)

// ErrNotRunning says that no agent answers on the local socket.
var ErrNotRunning = errors.New("the agent is not running")

// Client asks the agent on this host.
type Client struct {
	socket string
	http   http.Client
}

// NewClient returns a client for the agent on the local socket. It connects
// when it is first asked something.
func NewClient(socket string) *Client {
	c := &Client{socket: socket}
	c.http.Transport = &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return platform.DialLocal(ctx, socket)
		},
		DisableCompression: true,
	}
	return c
}

// Status asks for the host at one glance.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	return s, c.get(ctx, "/v1/status", &s)
}

// Threats asks for the open threats, worst first; all adds the resolved ones.
func (c *Client) Threats(ctx context.Context, all bool) (t Threats, err error) {
	path := "/v1/threats"
	if all {
		path += "?all=1"
	}
	return t, c.get(ctx, path, &t)
}

// Threat asks for one threat.
func (c *Client) Threat(ctx context.Context, id string) (e Explained, err error) {
	return e, c.get(ctx, "/v1/threats/"+url.PathEscape(id), &e)
}

// History asks for the entries after the one numbered after, oldest first; it
// waits that long if there are none yet.
func (c *Client) History(ctx context.Context, after uint64, wait time.Duration) (e Entries, err error) {
	query := url.Values{"after": {strconv.FormatUint(after, 10)}, "wait": {wait.String()}}
	return e, c.get(ctx, "/v1/history?"+query.Encode(), &e)
}

// Policy asks for the policy in force.
func (c *Client) Policy(ctx context.Context) (p PolicyInForce, err error) {
	return p, c.get(ctx, "/v1/policy", &p)
}

// Order gives an order, and waits until it was carried out and proved.
func (c *Client) Order(ctx context.Context, verb agent.Verb, o Order) (r Reply, err error) {
	body, err := json.Marshal(o)
	if err != nil {
		return r, fmt.Errorf("write order: %w", err)
	}
	return r, c.send(ctx, http.MethodPost, "/v1/orders/"+string(verb), bytes.NewReader(body), &r)
}

func (c *Client) get(ctx context.Context, path string, into any) error {
	return c.send(ctx, http.MethodGet, path, nil, into)
}

// maxAnswer bounds what is read from an agent.
const maxAnswer = 64 << 20

func (c *Client) send(ctx context.Context, method, path string, body io.Reader, into any) error {
	req, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, body)
	if err != nil {
		return fmt.Errorf("ask agent: %w", err)
	}
	res, err := c.http.Do(req)
	switch {
	case errors.Is(err, platform.ErrGone):
		return fmt.Errorf("%w: nobody answers on %s", ErrNotRunning, c.socket)
	case errors.Is(err, platform.ErrNotPermitted):
		return &Error{Code: NotPermitted, Message: "you may not connect to " + c.socket}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &Error{Code: Failed, Message: "the agent ended before it answered; see: journalctl -u firebreak"}
	case err != nil:
		return fmt.Errorf("ask agent: %w", err)
	}
	defer func() { _ = res.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return fmt.Errorf("read answer of agent: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		var f Failure
		if err := json.Unmarshal(data, &f); err != nil || f.Error.Message == "" {
			return fmt.Errorf("ask agent: it answered %s", res.Status)
		}
		return &f.Error
	}
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("read answer of agent: %w", err)
	}
	return nil
}
