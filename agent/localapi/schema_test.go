package localapi

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/firebreak-sec/firebreak/agent"
	"github.com/firebreak-sec/firebreak/agent/localapi/schema"
)

// outputs are the types of the contract, by their name in the schema.
var outputs = map[string]any{
	"status": Status{}, "threats": Threats{}, "explained": Explained{}, "entry": Entry{}, "policy_in_force": PolicyInForce{},
	"reply": Reply{}, "check": Check{}, "doctor": Doctor{}, "policy_check": PolicyCheck{}, "port_verdict": PortVerdict{},
	"version": Version{}, "evidence": Evidence{}, "failure": Failure{}, "service_reply": ServiceReply{}, "bundle_reply": BundleReply{},
}

type node = map[string]any

func definitions(t *testing.T) node {
	t.Helper()
	var s node
	if err := json.Unmarshal(schema.V1, &s); err != nil {
		t.Fatal(err)
	}
	return s["$defs"].(node)
}

// TestSchemaHasEveryField compares the Go types with the schema, field by field.
func TestSchemaHasEveryField(t *testing.T) {
	defs := definitions(t)
	for name, value := range outputs {
		def, ok := defs[name].(node)
		if !ok {
			t.Errorf("the schema lacks %s", name)
			continue
		}
		sameFields(t, defs, name, def, reflect.TypeOf(value))
	}
}

func sameFields(t *testing.T, defs node, path string, s node, typ reflect.Type) {
	t.Helper()
	s, null := resolve(defs, s)
	if want := typ.Kind() == reflect.Pointer; typ.Kind() != reflect.Slice && null != want {
		t.Errorf("%s: may be null: schema says %v, Go says %v", path, null, want)
	}
	for typ.Kind() == reflect.Pointer {
		typ = typ.Elem()
	}
	switch {
	case typ.Kind() == reflect.Slice:
		sameFields(t, defs, path+"[]", s["items"].(node), typ.Elem())
	case typ.Kind() == reflect.Struct && typ != reflect.TypeFor[time.Time]():
		properties := s["properties"].(node)
		var names []string
		for i := range typ.NumField() {
			field := typ.Field(i)
			names = append(names, field.Tag.Get("json"))
			p, ok := properties[field.Tag.Get("json")].(node)
			if !ok {
				t.Errorf("%s: the schema lacks %s", path, field.Tag.Get("json"))
				continue
			}
			sameFields(t, defs, path+"."+field.Tag.Get("json"), p, field.Type)
		}
		for name := range properties {
			if !slices.Contains(names, name) {
				t.Errorf("%s: the schema has %s, which does not exist", path, name)
			}
		}
	}
}

// resolve follows a reference and tells whether null is allowed.
func resolve(defs, s node) (node, bool) {
	if any, ok := s["anyOf"].([]any); ok {
		s, _ = resolve(defs, any[0].(node))
		return s, true
	}
	if ref, ok := s["$ref"].(string); ok {
		return defs[strings.TrimPrefix(ref, "#/$defs/")].(node), false
	}
	if types, ok := s["type"].([]any); ok {
		return s, slices.Contains(types, any("null"))
	}
	if enum, ok := s["enum"].([]any); ok {
		return s, slices.Contains(enum, any(nil))
	}
	return s, false
}

func TestOutputsKeepTheContract(t *testing.T) {
	fake := newFake()
	list := Threats{Schema: Schema, Threats: each(fake.threats, ThreatOf)}
	status := StatusOf(fake.Status())
	reply := agent.Reply{Text: "done", Threat: &fake.threats[0]}
	for name, output := range map[string]any{
		"status": status, "threats": list, "reply": replyOf(agent.Isolate, reply),
		"explained": Explained{Schema: Schema, Threat: list.Threats[0], Owner: []string{}},
		"failure":   Failure{Schema: Schema, Error: Error{Code: Refused, Message: "no"}},
	} {
		forms := []any{output}
		switch o := output.(type) {
		case Status:
			isolated := fake.Status()
			isolated.Isolation = &agent.IsolationStatus{Keep: []string{"hub"}}
			proved := fake.Status()
			proved.Isolation = &agent.IsolationStatus{
				State: agent.IsolationDegraded, Reasons: []string{"this kernel cannot reject"}, Lease: 15 * time.Minute, Ended: 3, Told: []string{"lena"},
			}
			forms = append(forms, StatusOf(isolated), StatusOf(proved), StatusOf(proved).Redact())
			forms = append(forms, o.Redact(), StatusOf(agent.Status{State: agent.StateUnsure, Mode: "audit", Policy: agent.PolicyStatus{Mode: "audit"}}))
		case Threats:
			forms = append(forms, o.Redact())
		}
		for _, form := range forms {
			data, err := json.Marshal(form)
			if err != nil {
				t.Fatal(err)
			}
			for _, problem := range schema.Violations(name, data) {
				t.Errorf("%s: %s", name, problem)
			}
		}
	}
}

func TestAbsentIsNull(t *testing.T) {
	data, err := json.Marshal(ThreatOf(samba))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"unit":null`, `"pid":null`, `"os":null`, `"waiting_for":null`, `"evidence":null`, `"verdict":null`,
		`"proofs":[]`, `"in_force":["block-port"]`, `"first_seen":"2026-11-23T12:00:00Z"`,
	} {
		if !strings.Contains(string(data), want) {
			t.Errorf("got %s; want %s in it", data, want)
		}
	}
}
