package localapi

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// classes says what everybody may see, field by field. A field that is not here
// fails the test: whoever adds one decides.
var classes = map[string]string{
	"schema": open, "state": open, "host": open, "mode": open, "isolated": open, "redacted": "changed",
	"isolation.since": open, "isolation.until": open, "isolation.reason": sentence, "isolation.by": gone,
	"isolation.threat": open, "isolation.proved": open, "isolation.detail": gone, "isolation.keep": open,
	"isolation.state": open, "isolation.reasons": sentence, "isolation.lease_seconds": open, "isolation.closed": open,
	"isolation.ended_connections": open, "isolation.told": gone,
	"paused.by": gone, "paused.until": open, "open": open,
	"blocked.protocol": open, "blocked.first": open, "blocked.last": open,
	"flags.name": open, "flags.threat": open, "flags.text": sentence, "flags.to": open, "flags.by": open,
	"flags.set": open, "flags.told": gone,
	"policy.version": open, "policy.name": open, "policy.revision": open, "policy.mode": open, "policy.source": gone,
	"policy.signed_by": open, "policy.valid": open, "policy.error": sentence,
	"last_look": open, "restricted": open, "gaps.part": open, "gaps.reason": sentence, "gaps.partial": open, "troubles": sentence,
	"agent.version": open, "agent.started": open, "agent.rss_bytes": open, "agent.cpu_seconds": open,
	"contact.phone": open, "contact.text": open, "next": sentence,

	"threats.id": open, "threats.detector": open, "threats.severity": open, "threats.stage": open,
	"threats.waiting_for": open, "threats.in_force": open, "threats.summary": sentence, "threats.next": sentence,
	"threats.first_seen": open, "threats.last_seen": open, "threats.resolved_at": open, "threats.recurrences": open, "threats.flaps": open, "threats.flaps_since": open,
	"threats.verdict": open, "threats.evidence": gone, "threats.plan": open, "threats.because": sentence,
	"threats.attempts": open, "threats.approved_by": gone,
	"threats.actions.seq": open, "threats.actions.name": open, "threats.actions.kind": open, "threats.actions.at": open,
	"threats.actions.by": gone, "threats.actions.result": open, "threats.actions.detail": gone,
	"threats.actions.undoable": open, "threats.actions.costs": gone,
	"threats.proofs.at": open, "threats.proofs.look": open, "threats.proofs.how": open,
	"threats.proofs.verdict": open, "threats.proofs.detail": gone,
	"threats.looks.name": open, "threats.looks.due": open,
	"threats.exception.owner": gone, "threats.exception.reason": gone, "threats.exception.until": open,
	"threats.hold_off.reason": gone, "threats.hold_off.by": gone, "threats.hold_off.until": open,

	"threats.subject.port.protocol": open, "threats.subject.port.port": open, "threats.subject.port.address": open,
	"threats.subject.port.netns": gone, "threats.subject.port.pid": gone, "threats.subject.port.process": open,
	"threats.subject.port.exe": gone, "threats.subject.port.user": gone, "threats.subject.port.unit": gone,
	"threats.subject.port.package": open, "threats.subject.port.container": gone, "threats.subject.port.reach": open,
	"threats.subject.port.through": gone, "threats.subject.port.forward": gone,
	"threats.subject.os.id": open, "threats.subject.os.version": open, "threats.subject.os.name": open,
	"threats.subject.os.verdict": open, "threats.subject.os.support_ends": open, "threats.subject.os.data_date": open,
	"threats.subject.os.data_source": open, "threats.subject.os.stale": open, "threats.subject.os.upgrade_to": open,
	"threats.subject.updates.packages.name": open, "threats.subject.updates.packages.arch": open,
	"threats.subject.updates.packages.installed": open, "threats.subject.updates.packages.candidate": open,
	"threats.subject.updates.packages.archive": open, "threats.subject.updates.packages.security": open,
	"threats.subject.updates.packages.kev": open, "threats.subject.updates.packages.since": open,
	"threats.subject.updates.packages.kev_ids": open, "threats.subject.updates.packages.advisory": open,
	"threats.subject.updates.packages.fixed": open, "threats.subject.updates.packages.severity": open,
	"threats.subject.updates.packages.held": open, "threats.subject.updates.manager": open, "threats.subject.updates.lists_as_of": open,
	"threats.subject.updates.unsupported.name": open, "threats.subject.updates.unsupported.version": open,
	"threats.subject.updates.unsupported.limited": open, "threats.subject.updates.unsupported.ended": open,
	"threats.subject.updates.unsupported.note": open, "threats.subject.updates.kernel": open,
	"threats.subject.updates.newer_kernel": open, "threats.subject.updates.reboot_asked": open,
	"threats.subject.updates.stale.pid": gone, "threats.subject.updates.stale.name": gone, "threats.subject.updates.stale.user": gone,
	"threats.subject.updates.stale.unit": gone, "threats.subject.updates.stale.files": gone,
	"threats.subject.file.path": gone, "threats.subject.file.sha256": open,
	"threats.subject.process.pid": gone, "threats.subject.process.name": open, "threats.subject.process.exe": gone,
	"threats.subject.setting.name": sentence, "threats.subject.setting.value": gone,
}

const (
	open     = "open"     // everybody sees it as it is
	gone     = "gone"     // null, or an empty list
	sentence = "sentence" // stays, without paths
)

func TestRedactFieldByField(t *testing.T) {
	var full Status
	fill(reflect.ValueOf(&full).Elem())
	before, after := map[string]string{}, map[string]string{}
	flatten(reflect.ValueOf(full), "", before)
	flatten(reflect.ValueOf(full.Redact()), "", after)
	for path, was := range before {
		now, there := after[path]
		switch classes[path] {
		case open:
			if now != was {
				t.Errorf("%s: got %q; want %q, everybody may see it", path, now, was)
			}
		case gone:
			if there {
				t.Errorf("%s: got %q; want nothing", path, now)
			}
		case sentence:
			if strings.Contains(now, "/home") || now == "" {
				t.Errorf("%s: got %q; want the sentence without its path", path, now)
			}
		case "changed":
		default:
			t.Errorf("%s is new: say in this test whether everybody may see it", path)
		}
	}
	for path := range classes {
		if _, there := before[path]; !there {
			t.Errorf("%s is classified and does not exist", path)
		}
	}
	if !full.Redact().Redacted || full.Redacted {
		t.Error("a redacted status must say so, and the full one must stay as it is")
	}
}

func TestRedactTakesNamesOutOfSentences(t *testing.T) {
	got := ThreatOf(redis).redact()
	for name, text := range map[string]*string{"summary": got.Summary, "next": got.Next, "because": got.Because} {
		for _, secret := range []string{"lena", "/home", "/etc"} {
			if strings.Contains(*text, secret) {
				t.Errorf("%s still says %s: %q", name, secret, *text)
			}
		}
	}
	if want := "administrator: firebreak approve T-9MPX (stops [hidden])"; *got.Next != want {
		t.Errorf("next: got %q; want %q", *got.Next, want)
	}
	status := StatusOf((&fakeAgent{threats: newFake().threats}).Status()).Redact()
	if strings.Contains(*status.Next, "lena") {
		t.Errorf("next of the status still names the unit: %q", *status.Next)
	}
	if by := ThreatOf(samba).redact().Actions; by[0].By == nil || by[1].By != nil {
		t.Errorf("who acted: got %v and %v; want policy and nobody", by[0].By, by[1].By)
	}
}

func TestRedactHidesUsersOfTheIsolation(t *testing.T) {
	s := Status{Isolation: &Isolation{
		Keep: []string{"hub", "user:lena", "unit:mesh.service"}, Told: []string{"lena"}, Reasons: []string{"cannot read /home/lena"},
	}}
	got := *s.Redact().Isolation
	if want := "[hub user:[hidden] unit:mesh.service] [] [cannot read [hidden]]"; fmt.Sprint(got.Keep, got.Told, got.Reasons) != want {
		t.Errorf("got %v %v %v; want %s", got.Keep, got.Told, got.Reasons, want)
	}
	if s.Isolation.Keep[1] != "user:lena" {
		t.Error("the full status was changed")
	}
}

// secret is in every field; those of a subject are its names alone.
const secret = "see /home/lena/x"

// fill sets every field to something, every list to one element.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(noon))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i))
			if p := v.Field(i); strings.HasSuffix(v.Type().Name(), "Subject") && p.Type() == reflect.TypeFor[*string]() {
				*p.Interface().(*string) = "/home/lena/bin"
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Map:
		key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		fill(key)
		fill(value)
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(key, value)
	case reflect.String:
		v.SetString(secret)
	case reflect.Bool:
	case reflect.Float64:
		v.SetFloat(1)
	case reflect.Int, reflect.Int64:
		v.SetInt(1)
	default:
		v.SetUint(1)
	}
}

// flatten writes every leaf that is there under its JSON path.
func flatten(v reflect.Value, path string, into map[string]string) {
	switch {
	case v.Kind() == reflect.Pointer:
		if !v.IsNil() {
			flatten(v.Elem(), path, into)
		}
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			flatten(v.Index(i), path, into)
		}
	case v.Kind() == reflect.Struct && v.Type() != reflect.TypeFor[time.Time]():
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
			flatten(v.Field(i), strings.TrimPrefix(path+"."+name, "."), into)
		}
	default:
		into[path] = fmt.Sprint(v.Interface())
	}
}
