package localapi

import (
	"net/http"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/platform"
)

// HelpdeskGroup is the group whose members see details, recheck, and approve
// what policy lets them.
const HelpdeskGroup = "firebreak-helpdesk"

// Role is what a caller may do; a greater one includes the lesser.
type Role int

// The roles.
const (
	Everybody Role = iota // sees a redacted status
	Helpdesk              // sees details, rechecks, approves
	Root                  // does the rest
)

func (r Role) String() string {
	switch r {
	case Root:
		return "root"
	case Helpdesk:
		return "group " + HelpdeskGroup
	}
	return "everybody"
}

// roleOf decides by what the kernel says of the caller, never by what he says.
func roleOf(c platform.Caller) Role {
	switch {
	case c.Root():
		return Root
	case c.In(HelpdeskGroup):
		return Helpdesk
	}
	return Everybody
}

// route is one thing that can be asked, and who may ask it.
type route struct {
	pattern string // as http.ServeMux has it
	role    Role
	answer  func(*server, *http.Request, platform.Caller) (any, error)
}

// routes is the whole of the API.
var routes = []route{
	{"GET /v1/status", Everybody, (*server).status},
	{"GET /v1/threats", Everybody, (*server).threats},
	{"GET /v1/threats/{id}", Everybody, (*server).explain},
	{"GET /v1/history", Helpdesk, (*server).history},
	{"GET /v1/policy", Helpdesk, (*server).policy},
	{"POST /v1/orders/recheck", Helpdesk, order(agent.Recheck)},
	{"POST /v1/orders/approve", Helpdesk, order(agent.Approve)},
	{"POST /v1/orders/isolate", Root, order(agent.Isolate)},
	{"POST /v1/orders/release", Root, order(agent.Release)},
	{"POST /v1/orders/except", Root, order(agent.Except)},
	{"POST /v1/orders/undo", Root, order(agent.Undo)},
	{"POST /v1/orders/pause", Root, order(agent.PauseIt)},
	{"POST /v1/orders/resume", Root, order(agent.Resume)},
}
