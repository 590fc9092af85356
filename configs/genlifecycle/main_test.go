package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The table in the repository is as the generator leaves it.
func TestTableIsInOrder(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", table))
	if err != nil {
		t.Fatal(err)
	}
	ordered, err := order(string(text))
	if err != nil {
		t.Fatal(err)
	}
	if ordered != string(text) {
		t.Error("lifecycle.csv is not in order: run go generate ./configs")
	}
}

func TestTidy(t *testing.T) {
	const head = "# data 2026-08-22\n# source a b c\nproduct,cycle,codename,build,released,support_end,security_end,extended_end,further_end,lts,edition,state,source,note\n"
	row := func(cycle string) string { return "p," + cycle + ",,,2020-01-01,,2024-01-01,,,,,,a,\n" }
	path := filepath.Join(t.TempDir(), "table.csv")

	for name, test := range map[string]struct{ text, want, err string }{
		"sorts":           {text: head + row("10") + row("9"), want: head + row("9") + row("10")},
		"keeps a mistake": {text: head + row("10") + row("10"), want: head + row("10") + row("10"), err: "already"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(path, []byte(test.text), 0o644); err != nil {
				t.Fatal(err)
			}
			err := tidy(path)
			if (err == nil) != (test.err == "") || err != nil && !strings.Contains(err.Error(), test.err) {
				t.Errorf("got error %v; want %q", err, test.err)
			}
			if got, _ := os.ReadFile(path); string(got) != test.want {
				t.Errorf("got:\n%swant:\n%s", got, test.want)
			}
		})
	}
}
