package platform

import (
	"maps"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestParseOSRelease(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want map[string]string
	}{
		"plain":                   {"ID=debian\nVERSION_ID=12\n", map[string]string{"ID": "debian", "VERSION_ID": "12"}},
		"no newline at the end":   {"ID=debian", map[string]string{"ID": "debian"}},
		"double quotes":           {`NAME="Debian GNU/Linux"`, map[string]string{"NAME": "Debian GNU/Linux"}},
		"single quotes":           {`NAME='Debian "GNU"'`, map[string]string{"NAME": `Debian "GNU"`}},
		"single quotes are plain": {`NAME='a\$b'`, map[string]string{"NAME": `a\$b`}},
		"escapes in quotes":       {`NAME="\$1 \"2\" \\ \` + "`" + `3"`, map[string]string{"NAME": "$1 \"2\" \\ `3"}},
		"other backslash stays":   {`NAME="a\nb"`, map[string]string{"NAME": `a\nb`}},
		"escape without quotes":   {`NAME=a\ b\$`, map[string]string{"NAME": "a b$"}},
		"nothing is expanded":     {`NAME="$HOME $(id)"`, map[string]string{"NAME": "$HOME $(id)"}},
		"empty":                   {"ID=\nNAME=\"\"\n", map[string]string{"ID": "", "NAME": ""}},
		"comments and blanks":     {"# ID=a\n\n  # x\nID=b # c\nNAME=\"d\" # e\n", map[string]string{"ID": "b", "NAME": "d"}},
		"hash in a word":          {"ID=a#b\n", map[string]string{"ID": "a#b"}},
		"indented":                {"  ID=debian  \n", map[string]string{"ID": "debian"}},
		"CRLF":                    {"ID=debian\r\nNAME=\"x\"\r\n", map[string]string{"ID": "debian", "NAME": "x"}},
		"byte order mark":         {"\ufeffID=debian\n", map[string]string{"ID": "debian"}},
		"the last wins":           {"ID=a\nID=b\n", map[string]string{"ID": "b"}},
		"words without quotes":    {"NAME=CentOS Linux 7\n", map[string]string{"NAME": "CentOS Linux 7"}},
		"spaces around":           {"ID = debian\nID= debian\n", map[string]string{}},
		"joined strings":          {`ID="deb""ian"` + "\n" + `ID='deb'ian` + "\n" + `ID=deb"ian"`, map[string]string{}},
		"open quotes":             {"ID=\"debian\nNAME='x\n", map[string]string{}},
		"backslash at the end":    {"ID=debian\\\nNAME=\"x\\\n", map[string]string{}},
		"no variable names":       {"=x\n1D=x\nI-D=x\nexport ID=x\nID\n", map[string]string{}},
		"control characters":      {"NAME=\"a\x1b[31mb\x00c\u202ed\"\n", map[string]string{"NAME": "a [31mb c d"}},
		"not UTF-8":               {"NAME=a\xffb\n", map[string]string{"NAME": "a b"}},
		"value too long":          {"ID=a\nID=" + strings.Repeat("b", maxOSValue+1), map[string]string{"ID": "a"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := parseOSRelease([]byte(test.text)); !maps.Equal(got, test.want) {
				t.Errorf("got %q; want %q", got, test.want)
			}
		})
	}
}

func FuzzOSRelease(f *testing.F) {
	for _, seed := range []string{
		"", "ID=debian\nVERSION_ID=\"12\"\n", "\ufeffID='a' # b\r\n", `NAME="\$\"" `, "A=\"\\", "A='", "ID=\xff\x00",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for name, value := range parseOSRelease(data) {
			if !isVariable(name) || len(value) > maxOSValue || !utf8.ValidString(value) {
				t.Errorf("got %q=%q", name, value)
			}
			if strings.ContainsFunc(value, func(r rune) bool { return !unicode.IsPrint(r) }) {
				t.Errorf("%s has unprintable characters: %q", name, value)
			}
		}
	})
}
