package adminapi

import (
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"

	"aigateway/budget"
)

const (
	defaultPageSize = 100
	maxPageSize     = 1000
)

// pageSize is how many entries a list returns. More than the maximum is cut to
// it: a page may always be shorter than what was asked for.
func pageSize(n int32) (int, error) {
	switch {
	case n < 0:
		return 0, budget.Invalid("field_invalid", "page_size", fmt.Sprintf("page_size is %d; use 1 to %d", n, maxPageSize))
	case n == 0:
		return defaultPageSize, nil
	default:
		return min(int(n), maxPageSize), nil
	}
}

// tokenPrefix makes a token of another version, or one that somebody wrote by
// hand, an error and not a wrong page.
const tokenPrefix = "1:"

func pageToken(lastID string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(tokenPrefix + lastID))
}

// after is the id that a page starts after.
func after(token string) (string, error) {
	if token == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	id, ok := strings.CutPrefix(string(raw), tokenPrefix)
	if err != nil || !ok || id == "" || !utf8.ValidString(id) {
		return "", badPageToken()
	}
	return id, nil
}

func badPageToken() *budget.Error {
	return budget.Invalid("field_invalid", "page_token", "page_token is none of ours; use next_page_token of the page before, or leave it out")
}

// page collects size entries that keep selects, and the token of the next page.
func page[T any](token string, size int, list func(after string, limit int) ([]T, error), id func(T) string, keep func(T) bool) ([]T, string, error) {
	from, err := after(token)
	if err != nil {
		return nil, "", err
	}
	var kept []T
	for {
		batch, err := list(from, maxPageSize)
		if err != nil {
			return nil, "", err
		}
		for _, entry := range batch {
			if !keep(entry) {
				continue
			}
			if len(kept) == size { // one more exists: the page before it is full
				return kept, pageToken(id(kept[size-1])), nil
			}
			kept = append(kept, entry)
		}
		if len(batch) < maxPageSize {
			return kept, "", nil
		}
		from = id(batch[len(batch)-1])
	}
}
