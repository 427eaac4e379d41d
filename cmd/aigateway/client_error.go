package main

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/go-json-experiment/json"
)

// apiError is an error envelope as the server sent it.
type apiError struct {
	Status   int
	Message  string
	Type     string
	Param    string
	Reason   string
	hintText string
}

func (e *apiError) Error() string {
	if e.Reason == "" {
		return fmt.Sprintf("%s (HTTP %d)", e.Message, e.Status)
	}
	return fmt.Sprintf("%s (%s, HTTP %d)", e.Message, e.Reason, e.Status)
}

// Hint says what the person can do here; the message already says what the
// server wants.
func (e *apiError) Hint() string { return e.hintText }

// answerError reads the envelope of a refused request. It is lenient where
// success is strict: whatever answered, the person must learn what it said.
func answerError(resp *http.Response, text []byte) error {
	var envelope struct {
		Error struct {
			Message  string `json:"message"`
			Type     string `json:"type"`
			Param    string `json:"param"`
			Metadata struct {
				Reason string `json:"reason"`
			} `json:"metadata"`
		} `json:"error"`
	}
	if err := json.Unmarshal(text, &envelope); err != nil || envelope.Error.Message == "" {
		return withHint(fmt.Errorf("the server answered %q with %s", resp.Status, excerpt(text)),
			"this is no aigateway answer; check --server or "+envServer)
	}
	e := envelope.Error
	return &apiError{
		Status: resp.StatusCode, Message: e.Message, Type: e.Type, Param: e.Param, Reason: e.Metadata.Reason,
		hintText: statusHint(resp.StatusCode),
	}
}

func statusHint(status int) string {
	switch status {
	case http.StatusUnauthorized:
		return "set " + envAPIKey + " or pass --api-key-file; the key must belong to this gateway"
	case http.StatusForbidden:
		return "use a key with the scope this needs; `aigateway keys list` shows the scopes"
	case http.StatusConflict:
		return "somebody changed it in between; read it again and retry"
	case http.StatusServiceUnavailable:
		return "nothing was changed; retry in a moment"
	}
	return ""
}

// excerpt is the start of an answer that is not ours, on one line.
func excerpt(text []byte) string {
	const most = 200
	s := strings.Join(strings.Fields(string(text)), " ")
	if s == "" {
		return "an empty body"
	}
	if r := []rune(s); len(r) > most {
		s = string(r[:most]) + "…"
	}
	return fmt.Sprintf("%q", s)
}
