package configs

import (
	"fmt"
	"strings"
)

// suggest names the candidate that was probably meant, or else all of them.
func suggest(given string, candidates []string) string {
	if near := nearest(given, candidates); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	switch len(candidates) {
	case 0:
		return ""
	case 1:
		return "use " + candidates[0]
	}
	last := len(candidates) - 1
	return "use " + strings.Join(candidates[:last], ", ") + " or " + candidates[last]
}

// nearest returns the candidate closest to what was given, or "" if none is
// close: at most one slip for every three letters.
func nearest(given string, candidates []string) string {
	const longestWord = 40
	if given == "" || len(given) > longestWord {
		return ""
	}
	word := strings.ToLower(given)
	best, least := "", max(1, len(word)/3)+1
	for _, candidate := range candidates {
		lower := strings.ToLower(candidate)
		slips := distance(word, lower)
		if len(word) >= 3 && (strings.HasPrefix(lower, word) || strings.HasPrefix(word, lower)) {
			slips = min(slips, 1)
		}
		if slips < least {
			best, least = candidate, slips
		}
	}
	return best
}

// distance counts the slips between two words: a letter added, left out,
// changed, or swapped with its neighbour (optimal string alignment).
func distance(a, b string) int {
	before := make([]int, len(b)+1) // the row two above
	above := make([]int, len(b)+1)
	row := make([]int, len(b)+1)
	for j := range row {
		above[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(above[j]+1, row[j-1]+1, above[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, above, row = above, row, before
	}
	return above[len(b)]
}

// quote shows what somebody wrote: in quotes, with nothing in it that a terminal
// would obey, and no longer than a line can bear.
func quote(text string) string {
	const limit = 40
	if letters := []rune(text); len(letters) > limit {
		text = string(letters[:limit]) + "..."
	}
	return fmt.Sprintf("%q", text)
}
