package platform

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// parseProStatus reads the status.json of Ubuntu Pro's client: whether security
// updates past the regular ones are switched on, and those of the legacy add-on.
// A contract that ended before now switches both off.
func parseProStatus(data []byte, now time.Time) (infra, legacy bool, err error) {
	var status struct {
		Attached bool   `json:"attached"`
		Expires  string `json:"expires"`
		Services []struct {
			Name   string `json:"name"`
			Status string `json:"status"`
		} `json:"services"`
	}
	if err := json.Unmarshal(data, &status); err != nil {
		return false, false, fmt.Errorf("read Ubuntu Pro status: %w", err)
	}
	if expires, err := time.Parse(time.RFC3339, status.Expires); err == nil && now.After(expires) {
		return false, false, nil
	}
	for _, service := range status.Services {
		on := status.Attached && (service.Status == "enabled" || service.Status == "warning")
		switch service.Name {
		case "esm-infra":
			infra = infra || on
		case "esm-infra-legacy":
			legacy = legacy || on
		}
	}
	return infra, legacy, nil
}

// aptLines returns the places that a sources.list(5) in one-line style names for
// binary packages.
func aptLines(text string) []string {
	var uris []string
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		kind, rest, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok || kind != "deb" {
			continue
		}
		rest = strings.TrimSpace(rest)
		if strings.HasPrefix(rest, "[") {
			_, rest, _ = strings.Cut(rest, "]")
		}
		if fields := strings.Fields(rest); len(fields) > 0 {
			uris = append(uris, fields[0])
		}
	}
	return uris
}

// aptStanzas returns the places that a sources.list(5) in deb822 style names for
// binary packages.
func aptStanzas(text string) []string {
	var uris []string
	for stanza := range strings.SplitSeq(strings.ReplaceAll(text, "\r\n", "\n"), "\n\n") {
		fields := map[string]string{}
		name := ""
		for line := range strings.Lines(stanza) {
			if strings.HasPrefix(line, "#") {
				continue
			}
			if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
				fields[name] += " " + strings.TrimSpace(line)
				continue
			}
			key, value, _ := strings.Cut(line, ":")
			name = strings.ToLower(strings.TrimSpace(key))
			fields[name] = strings.TrimSpace(value)
		}
		off := strings.ToLower(fields["enabled"])
		if off == "no" || off == "false" || off == "0" || !hasWord(fields["types"], "deb") {
			continue
		}
		uris = append(uris, strings.Fields(fields["uris"])...)
	}
	return uris
}

func hasWord(list, word string) bool {
	for w := range strings.FieldsSeq(list) {
		if w == word {
			return true
		}
	}
	return false
}

// rhelELS tells whether a redhat.repo has a repository of the Extended Life Cycle
// add-on switched on, such as [rhel-7-server-els-rpms].
func rhelELS(repos string) bool {
	els := false
	for line := range strings.Lines(repos) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			els = strings.Contains(line, "-els-") && !strings.Contains(line, "-debug-") && !strings.Contains(line, "-source-")
			continue
		}
		key, value, _ := strings.Cut(line, "=")
		if els && strings.TrimSpace(key) == "enabled" && strings.TrimSpace(value) == "1" {
			return true
		}
	}
	return false
}
