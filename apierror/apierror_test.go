package apierror_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"aigateway/apierror"
	"aigateway/budget"
	"aigateway/internal/goldentest"
)

func refused(change func(*budget.Refusal)) *budget.Error {
	fits := int64(2875)
	r := &budget.Refusal{
		Budget: budget.Budget{
			ID: "bud_7", Target: budget.Target{Tags: "summarize"}, Period: budget.Month, Cap: 500 * budget.Dollar,
		},
		Spent: 49_820 * budget.Cent, Reserved: 150 * budget.Cent, Bound: 322_500_000,
		ResetsAt:         time.Date(2026, 12, 1, 1, 0, 0, 0, time.FixedZone("", 3600)),
		MaxTokensThatFit: &fits,
		Lines: []budget.Line{
			{Label: "output", Quantity: 8000, Unit: "tokens", PicoPerUnit: 10_000_000, Amount: 80_000_000, Note: "cap 4000 × 2 choices"},
			{Label: "bound", Quantity: 1, Unit: "request", Amount: 322_500_000},
		},
	}
	change(r)
	return &budget.Error{
		Kind: budget.KindBudgetExceeded, Reason: "cap_would_be_crossed", Refusal: r,
		Message: "Budget 'summarize' has $0.30 of $500.00 left; this request could cost $0.3225. max_tokens 2875 fits.",
	}
}

// golden errors: one of each kind, and the shapes that differ. The answers
// Envoy writes itself are compared with the same files.
func golden() map[string]*budget.Error {
	return map[string]*budget.Error{
		"budget_exceeded": refused(func(*budget.Refusal) {}),
		"budget_exceeded_total_of_key": refused(func(r *budget.Refusal) {
			r.Budget.Target = budget.Target{KeyID: "key_3"}
			r.Budget.Period = budget.Total
			r.ResetsAt = time.Time{}
			r.MaxTokensThatFit, r.Lines = nil, nil
		}),
		"invalid":            budget.Invalid("duplicate_key", "max_tokens", `member "max_tokens" appears twice; send it once <&>`),
		"unauthenticated":    {Kind: budget.KindUnauthenticated, Reason: "key_missing", Message: "no key; send Authorization: Bearer sk-aig-…"},
		"permission":         {Kind: budget.KindPermission, Reason: "tag_not_allowed", Field: "x-aig-tag", Message: "this key may not use tag 'a'"},
		"model_not_found":    {Kind: budget.KindModelNotFound, Reason: "model_unknown", Field: "model", Message: "unknown model"},
		"not_found":          budget.NotFound("route_unknown", "this address does not exist"),
		"conflict":           {Kind: budget.KindConflict, Reason: "etag_mismatch", Field: "etag", Message: "the budget changed; read it again"},
		"request_too_large":  {Kind: budget.KindTooLarge, Reason: "body_too_large", Message: "the body is too large"},
		"rate_limited":       {Kind: budget.KindRateLimited, Reason: "rate_limited", Message: "too many requests"},
		"provider":           {Kind: budget.KindProvider, Reason: "upstream_unreachable", Message: "the provider could not be reached"},
		"unavailable":        budget.Unavailable("recovering", "the gateway is starting; try again", errors.New("secret cause")),
		"timeout":            {Kind: budget.KindTimeout, Reason: "upstream_timeout", Message: "the provider did not answer in time"},
		"internal":           apierror.From(errors.New("secret cause")),
		"undeclared_kind":    {Kind: 999, Message: "x"},
		"bare_invalid":       {Kind: budget.KindInvalid, Message: "x"},
		"invalid_utf8_input": {Kind: budget.KindInvalid, Message: "bad \xff byte"},
	}
}

func TestBodyGolden(t *testing.T) {
	for name, e := range golden() {
		for dialect, suffix := range map[apierror.Dialect]string{apierror.OpenAI: "openai", apierror.Anthropic: "anthropic"} {
			t.Run(name+"/"+suffix, func(t *testing.T) {
				got := apierror.Body(dialect, e, "req-1")
				if strings.Contains(string(got), "secret cause") {
					t.Errorf("the cause leaked: %s", got)
				}
				file := filepath.Join("testdata", name+"."+suffix+".json")
				goldentest.Equal(t, file, string(got)+"\n")
			})
		}
	}
}

func TestStatusTypeRetry(t *testing.T) {
	tests := []struct {
		kind              budget.Kind
		status            int
		openai, anthropic string
		retry             string
	}{
		{budget.KindInternal, 500, "internal_error", "api_error", ""},
		{budget.KindInvalid, 400, "invalid_request_error", "invalid_request_error", ""},
		{budget.KindUnauthenticated, 401, "authentication_error", "authentication_error", ""},
		{budget.KindBudgetExceeded, 402, "budget_exceeded", "billing_error", "false"},
		{budget.KindPermission, 403, "permission_error", "permission_error", ""},
		{budget.KindModelNotFound, 404, "model_not_found", "not_found_error", ""},
		{budget.KindNotFound, 404, "not_found", "not_found_error", ""},
		{budget.KindConflict, 409, "conflict", "invalid_request_error", ""},
		{budget.KindTooLarge, 413, "request_too_large", "request_too_large", ""},
		{budget.KindRateLimited, 429, "rate_limit_error", "rate_limit_error", ""},
		{budget.KindProvider, 502, "provider_error", "api_error", ""},
		{budget.KindUnavailable, 503, "service_unavailable", "api_error", "true"},
		{budget.KindTimeout, 504, "timeout_error", "timeout_error", "false"},
	}
	for _, tt := range tests {
		e := &budget.Error{Kind: tt.kind}
		retry, ok := apierror.RetryHeader(e)
		if got := apierror.Status(e); got != tt.status {
			t.Errorf("Status(%d) = %d, want %d", tt.kind, got, tt.status)
		}
		if got := apierror.Type(apierror.OpenAI, e); got != tt.openai {
			t.Errorf("Type(OpenAI, %d) = %s, want %s", tt.kind, got, tt.openai)
		}
		if got := apierror.Type(apierror.Anthropic, e); got != tt.anthropic {
			t.Errorf("Type(Anthropic, %d) = %s, want %s", tt.kind, got, tt.anthropic)
		}
		if retry != tt.retry || ok != (tt.retry != "") {
			t.Errorf("RetryHeader(%d) = %q, %v, want %q", tt.kind, retry, ok, tt.retry)
		}
		if after, ok := apierror.RetryAfter(e); ok != (tt.status == 429) || ok && after != "1" {
			t.Errorf("RetryAfter(%d) = %q, %v", tt.kind, after, ok)
		}
		if apierror.Reason(e) == "" {
			t.Errorf("Reason(%d) is empty", tt.kind)
		}
	}
}

func TestFrom(t *testing.T) {
	known := budget.Invalid("field_invalid", "cap", "no")
	tests := []struct {
		name string
		err  error
		kind budget.Kind
	}{
		{"ours", known, budget.KindInvalid},
		{"ours, wrapped", fmt.Errorf("set budget: %w", known), budget.KindInvalid},
		{"deadline", fmt.Errorf("read: %w", context.DeadlineExceeded), budget.KindUnavailable},
		{"cancelled", context.Canceled, budget.KindUnavailable},
		{"unknown", errors.New("disk on fire"), budget.KindInternal},
		{"typed nil", (*budget.Error)(nil), budget.KindInternal},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := apierror.From(tt.err)
			if got.Kind != tt.kind {
				t.Errorf("From(%v).Kind = %d, want %d", tt.err, got.Kind, tt.kind)
			}
			if strings.Contains(got.Message, "disk") {
				t.Errorf("From(%v).Message shows internals: %s", tt.err, got.Message)
			}
		})
	}
	if got := apierror.From(nil); got != nil {
		t.Errorf("From(nil) = %v, want nil", got)
	}
	if got := apierror.From(fmt.Errorf("set budget: %w", known)); got != known {
		t.Errorf("From(wrapped) = %v, want the error itself", got)
	}
}

func TestRouteUnknownIsShortAndPrintable(t *testing.T) {
	e := apierror.RouteUnknown("GET", "/"+strings.Repeat("é", 5000)+"\xff")
	body := apierror.Body(apierror.OpenAI, e, "")
	if len(body) > 1000 || !json.Valid(body) {
		t.Errorf("Body has %d bytes, valid %v", len(body), json.Valid(body))
	}
}

func FuzzBody(f *testing.F) {
	f.Add(1, "reason", "field", "message", "req")
	f.Add(3, "\xff", "\x00", "\u2028<>&", "")
	f.Fuzz(func(t *testing.T, kind int, reason, field, message, id string) {
		e := &budget.Error{Kind: budget.Kind(kind), Reason: reason, Field: field, Message: message}
		for _, d := range []apierror.Dialect{apierror.OpenAI, apierror.Anthropic} {
			if b := apierror.Body(d, e, id); !json.Valid(b) {
				t.Errorf("Body(%d) is not JSON: %q", d, b)
			}
		}
	})
}

// What is escaped means the same, and is not found.
func TestBodiesHoldNoStatus(t *testing.T) {
	statuses := regexp.MustCompile("429|500|502|503|504|524")
	rapid.Check(t, func(rt *rapid.T) {
		text := rapid.StringOfN(rapid.SampledFrom([]rune("0245923\"\\é x")), 0, 30, -1).Draw(rt, "text")
		number := rapid.Int64Range(0, 1<<62).Draw(rt, "number")
		e := refused(func(r *budget.Refusal) {
			r.Budget.ID, r.Budget.Cap, r.Lines[0].Quantity, r.Lines[0].Note = text, budget.Amount(number), number, text
		})
		e.Message = text
		for _, d := range []apierror.Dialect{apierror.OpenAI, apierror.Anthropic} {
			body := apierror.Body(d, e, text)
			if statuses.Match(body) {
				rt.Fatalf("%s has %s", body, statuses.Find(body))
			}
			var got struct {
				RequestID string `json:"request_id"`
				Error     struct {
					Message  string
					Metadata struct {
						Budget, Cap string
						RequestID   string `json:"request_id"`
						Lines       []struct {
							Quantity int64 `json:",string"`
							Note     string
						}
					}
				}
			}
			if err := json.Unmarshal(body, &got); err != nil {
				rt.Fatal(err)
			}
			m := got.Error.Metadata
			if got.Error.Message != text || m.Budget != text || m.Cap != budget.Amount(number).String() || m.Lines[0].Quantity != number || m.Lines[0].Note != text || got.RequestID+m.RequestID != text {
				rt.Fatalf("%+v, want %q and %d everywhere", got, text, number)
			}
		}
	})
}
