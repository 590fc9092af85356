package journal

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

func TestReopenSavesAndRestores(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path, Limits{})
	defer j.Close()
	for range 9 {
		begin(t, j, "T-OLD")
	}
	known := must(j.Contents())(t).Intents
	for i := range known {
		known[i].Open, known[i].Inverse = false, json.RawMessage(`{}`)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Begin(Intent{Threat: "T-NEW"}); err == nil {
		t.Fatal("an intent was taken by a journal that is not there")
	}
	if err := j.Reopen(); err != nil {
		t.Fatal(err)
	}
	if err := j.Restore(known); err != nil {
		t.Fatal(err)
	}
	if got := must(j.Contents())(t).Intents; len(got) != 9 || got[0].Open || got[8].Seq != known[8].Seq {
		t.Errorf("restored %+v", got)
	}
	if seq := begin(t, j, "T-NEW"); seq <= known[8].Seq {
		t.Errorf("number %d was given out before", seq)
	}
}
