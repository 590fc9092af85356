// Genlifecycle checks the table of operating system lifecycles and brings its rows
// into the order of products and versions. Run it by `go generate ./configs` after
// editing lifecycle.csv, which is the source itself: where a row comes from stands
// in the row, and nothing is fetched. A table with a mistake is left as it is.
package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/firebreak-sec/firebreak/configs"
)

const table = "lifecycle.csv"

func main() {
	if err := tidy(table); err != nil {
		fmt.Fprintln(os.Stderr, "genlifecycle:", err)
		os.Exit(1)
	}
}

// tidy rewrites the table at path in order.
func tidy(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	ordered, err := order(string(text))
	if err != nil {
		return err
	}
	if ordered == string(text) {
		return nil
	}
	return os.WriteFile(path, []byte(ordered), 0o644)
}

// order returns the table with its rows sorted below its head.
func order(text string) (string, error) {
	if _, err := configs.ParseLifecycle(text); err != nil {
		return "", err
	}
	var head, rows []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "product,cycle,") {
			head = append(head, line)
			continue
		}
		rows = append(rows, line)
	}
	slices.SortFunc(rows, func(a, b string) int {
		x, y := strings.Split(a, ","), strings.Split(b, ",")
		if c := strings.Compare(x[0], y[0]); c != 0 {
			return c
		}
		return configs.CompareVersions(x[1], y[1])
	})
	return strings.Join(append(head, rows...), "\n") + "\n", nil
}
