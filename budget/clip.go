package budget

import "strings"

// Clip shortens a stranger's text to most bytes before a message repeats it.
func Clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
