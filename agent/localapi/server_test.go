package localapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/agent/journal"
	"github.com/firebreak-sec/firebreak/platform"
)

var (
	user     = platform.Caller{UID: 1000, User: "lena", Groups: []string{"lena"}}
	helpdesk = platform.Caller{UID: 1001, User: "jd", Groups: []string{"jd", HelpdeskGroup}}
	root     = platform.Caller{UID: 0, User: "root", Groups: []string{"root"}}
)

// ask puts one request to a server as that caller, without a socket.
func ask(a *fakeAgent, c platform.Caller, method, path, body string) (int, string) {
	req := httptest.NewRequest(method, "http://agent"+path, strings.NewReader(body))
	req = req.WithContext(context.WithValue(req.Context(), callerKey{}, c))
	rec := httptest.NewRecorder()
	(&server{agent: a.whole(), log: zap.NewNop()}).handler().ServeHTTP(rec, req)
	return rec.Code, rec.Body.String()
}

// bodies are orders that are whole, by route.
var bodies = map[string]string{
	"isolate": `{"reason":"test"}`, "approve": `{"threat":"T-9MPX"}`, "undo": `{"threat":"T-9MPX"}`,
	"except": `{"threat":"T-9MPX","reason":"x","until":"2027-01-01T00:00:00Z"}`, "pause": `{"for":"1h"}`,
}

func TestEveryRouteAsksForItsRole(t *testing.T) {
	callers := map[Role]platform.Caller{Everybody: user, Helpdesk: helpdesk, Root: root}
	for _, r := range routes {
		method, path, _ := strings.Cut(r.pattern, " ")
		path = strings.Replace(path, "{id}", "T-9MPX", 1)
		for role, caller := range callers {
			fake := newFake()
			code, body := ask(fake, caller, method, path, bodies[filepath.Base(path)])
			if role >= r.role && code != http.StatusOK {
				t.Errorf("%s as %s: got %d %s; want 200", r.pattern, caller, code, body)
			}
			if role < r.role && (code != http.StatusForbidden || len(fake.orders) > 0) {
				t.Errorf("%s as %s: got %d and orders %v; want 403 and none", r.pattern, caller, code, fake.orders)
			}
		}
	}
}

func TestNobodyKnownMayAskNothing(t *testing.T) {
	req := httptest.NewRequest("GET", "http://agent/v1/status", nil)
	rec := httptest.NewRecorder()
	(&server{agent: newFake().whole(), log: zap.NewNop()}).handler().ServeHTTP(rec, req)
	if rec.Code != http.StatusForbidden {
		t.Errorf("got %d; want 403 without credentials", rec.Code)
	}
}

func TestHelpdeskApprovesOnlyWhatWaitsForApproval(t *testing.T) {
	fake := newFake()
	if code, body := ask(fake, helpdesk, "POST", "/v1/orders/approve", `{"threat":"T-7K4Q"}`); code != http.StatusForbidden {
		t.Errorf("mitigated threat: got %d %s; want 403", code, body)
	}
	if code, body := ask(fake, helpdesk, "POST", "/v1/orders/approve", `{"threat":"9mpx"}`); code != http.StatusOK {
		t.Errorf("waiting threat: got %d %s; want 200", code, body)
	}
	if got := fake.last(); got.Threat != "T-9MPX" || got.By != "jd (uid 1001)" {
		t.Errorf("order is %+v; want T-9MPX by jd (uid 1001)", got)
	}
}

func TestWhoAsksCannotBeForged(t *testing.T) {
	fake := newFake()
	code, body := ask(fake, helpdesk, "POST", "/v1/orders/recheck", `{"by":"root (uid 0)"}`)
	if code != http.StatusBadRequest || len(fake.orders) > 0 {
		t.Errorf("got %d %s; want 400: there is no such field", code, body)
	}
}

func TestOrdersThatAreRefused(t *testing.T) {
	big := `{"reason":"` + strings.Repeat("x", maxBody) + `"}`
	for name, c := range map[string]struct{ verb, body, want string }{
		"no reason":      {"isolate", `{}`, "isolate needs a reason"},
		"blank reason":   {"isolate", `{"reason":"  "}`, "needs a reason"},
		"no body":        {"approve", ``, "needs the ID"},
		"unknown field":  {"isolate", `{"reason":"x","cutme":true}`, "unknown field"},
		"wrong type":     {"isolate", `{"reason":7}`, "not an order"},
		"two objects":    {"isolate", `{"reason":"x"}{"reason":"y"}`, "more after the order"},
		"rubbish after":  {"isolate", `{"reason":"x"}]`, "more after the order"},
		"too long":       {"isolate", big, "at most 65536 bytes"},
		"bad duration":   {"pause", `{"for":"soon"}`, "soon"},
		"no duration":    {"pause", `{}`, "needs a length of time"},
		"negative":       {"pause", `{"for":"-1h"}`, "-1h"},
		"no date":        {"except", `{"threat":"T-9MPX","reason":"x"}`, "needs an end date"},
		"array":          {"isolate", `[]`, "not an order"},
		"deeply nested":  {"isolate", strings.Repeat(`{"reason":`, 6000), "not an order"},
		"null":           {"isolate", `null`, "needs a reason"},
		"not JSON":       {"isolate", "reason=x", "not an order"},
		"invalid UTF-8?": {"isolate", "{\"reas\xffon\":1}", "not an order"},
	} {
		fake := newFake()
		code, body := ask(fake, root, "POST", "/v1/orders/"+c.verb, c.body)
		if code != http.StatusBadRequest || !strings.Contains(body, c.want) || len(fake.orders) > 0 {
			t.Errorf("%s: got %d %.200s; want 400 with %q and no order", name, code, body, c.want)
		}
	}
}

func TestErrorsHaveTheirCodes(t *testing.T) {
	for _, c := range []struct {
		err  error
		code Code
	}{
		{&agent.RefusedError{Reason: "no"}, Refused},
		{&agent.RefusedError{Reason: "would cut", CutsOff: true}, CutsOff},
		{fmt.Errorf("do it: %w", &agent.RefusedError{Reason: "no"}), Refused},
		{errors.New("disk full"), Failed},
	} {
		fake := newFake()
		fake.refuse = c.err
		_, body := ask(fake, root, "POST", "/v1/orders/isolate", `{"reason":"x"}`)
		var f Failure
		if err := json.Unmarshal([]byte(body), &f); err != nil || f.Error.Code != c.code || f.Error.Message == "" {
			t.Errorf("%v: got %s; want code %s", c.err, body, c.code)
		}
	}
	if code, body := ask(newFake(), root, "GET", "/v1/nonsense", ""); code != http.StatusNotFound || !strings.Contains(body, "not-found") {
		t.Errorf("unknown path: got %d %s", code, body)
	}
	if code, _ := ask(newFake(), root, "DELETE", "/v1/status", ""); code == http.StatusOK {
		t.Errorf("DELETE /v1/status was answered")
	}
}

// serve runs a server on a real socket and returns a client.
func serve(t *testing.T, a Agent) (*Client, string) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "agent.sock")
	ctx, cancel := context.WithCancel(context.Background())
	open, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- Serve(ctx, a, socket, zap.NewNop(), func() { close(open) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	select {
	case <-open:
	case err := <-done:
		t.Fatal(err)
	}
	return NewClient(socket), socket
}

func TestClientAndServer(t *testing.T) {
	fake := newFake()
	client, socket := serve(t, fake.whole())
	ctx := context.Background()
	status, err := client.Status(ctx)
	if err != nil || status.Host != "lena-t14" || len(status.Threats) != 2 || status.Schema != 1 {
		t.Errorf("status: %+v, %v", status, err)
	}
	one, err := client.Threat(ctx, "7k4q")
	if err != nil || one.Threat.ID != "T-7K4Q" {
		t.Errorf("threat: %+v, %v", one, err)
	}
	var fault *Error
	if _, err := client.Threat(ctx, "T-../x"); !errors.As(err, &fault) || fault.Code != NotFound {
		t.Errorf("no such threat: %v", err)
	}
	if p, err := client.Policy(ctx); err != nil || !strings.Contains(p.YAML, "workstations") {
		t.Errorf("policy: %+v, %v", p, err)
	}
	if err := Serve(ctx, fake.whole(), socket, zap.NewNop(), nil); !errors.Is(err, platform.ErrAnswers) {
		t.Errorf("second agent: got %v; want ErrAnswers", err)
	}
	if _, err := NewClient(socket + "x").Status(ctx); !errors.Is(err, ErrNotRunning) {
		t.Errorf("no agent: got %v; want ErrNotRunning", err)
	}
}

func TestHistoryWaitsForWhatComes(t *testing.T) {
	fake := newFake()
	client, _ := serve(t, fake.whole())
	got := make(chan Entries, 1)
	go func() {
		page, err := client.History(context.Background(), 0, 10*time.Second)
		if err != nil {
			t.Error(err)
		}
		got <- page
	}()
	time.Sleep(50 * time.Millisecond)
	fake.note(journal.Entry{Seq: 7, At: noon, Kind: "found", Text: "x"})
	select {
	case page := <-got:
		if len(page.Entries) != 1 || page.Entries[0].Seq != 7 {
			t.Errorf("got %+v; want entry 7", page)
		}
	case <-time.After(5 * time.Second):
		t.Error("the long poll did not wake up")
	}
	start := time.Now()
	if page, err := client.History(context.Background(), 7, 20*time.Millisecond); err != nil || len(page.Entries) != 0 || time.Since(start) > 5*time.Second {
		t.Errorf("nothing new: got %+v, %v after %v", page, err, time.Since(start))
	}
}

func TestOneUserCannotTakeAllConnections(t *testing.T) {
	g := &guard{open: map[uint32]int{}}
	for range maxPerUser {
		if !g.enter(user) {
			t.Fatal("turned away too soon")
		}
	}
	if g.enter(user) {
		t.Error("one connection too many was let in")
	}
	if !g.enter(helpdesk) {
		t.Error("another user was turned away")
	}
	for range 2 * maxPerUser {
		if !g.enter(root) {
			t.Fatal("root was turned away")
		}
	}
	g.leave(user)
	if !g.enter(user) {
		t.Error("a place that became free was not given away")
	}
}

func FuzzLocalAPI(f *testing.F) {
	for verb, body := range bodies {
		f.Add("POST", "/v1/orders/"+verb, body, uint8(0))
	}
	f.Add("GET", "/v1/history?after=9&limit=-1&wait=1h", "", uint8(1))
	f.Add("GET", "/v1/threats/%2e%2e?all=1", "{", uint8(2))
	f.Fuzz(func(t *testing.T, method, path, body string, who uint8) {
		req, err := http.NewRequest(method, "http://agent"+path, bytes.NewBufferString(body))
		if err != nil || strings.Contains(path, "wait") {
			t.Skip("not a request that net/http would hand over, or one that waits")
		}
		caller := []platform.Caller{user, helpdesk, root}[who%3]
		fake := newFake()
		req = req.WithContext(context.WithValue(req.Context(), callerKey{}, caller))
		rec := httptest.NewRecorder()
		(&server{agent: fake.whole(), log: zap.NewNop()}).handler().ServeHTTP(rec, req)
		if rec.Code >= 500 {
			t.Errorf("%s %s: got %d %s", method, path, rec.Code, rec.Body)
		}
		if caller.UID == user.UID && len(fake.orders) > 0 {
			t.Errorf("%s %s: a user without a role gave order %+v", method, path, fake.orders)
		}
		if strings.HasPrefix(rec.Header().Get("Content-Type"), "application/json") && !json.Valid(rec.Body.Bytes()) {
			t.Errorf("%s %s: got invalid JSON %q", method, path, rec.Body)
		}
	})
}

// TestWhatTheHelpdeskMay is the contract; the routes must agree with it.
func TestWhatTheHelpdeskMay(t *testing.T) {
	want := map[Role]string{
		Everybody: "status threats {id}",
		Helpdesk:  "history policy recheck approve",
		Root:      "isolate release except undo pause resume",
	}
	got := map[Role][]string{}
	for _, r := range routes {
		got[r.role] = append(got[r.role], r.pattern[strings.LastIndex(r.pattern, "/")+1:])
	}
	for role, names := range want {
		if list := strings.Join(got[role], " "); list != names {
			t.Errorf("%s: got %q; want %q", role, list, names)
		}
	}
}
