package budget

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Scope is one thing a key may do.
type Scope string

// The scopes. Admin includes all others and the keys themselves.
const (
	ScopeInference Scope = "inference" // call models
	ScopeUsage     Scope = "usage"     // read usage
	ScopeBudgets   Scope = "budgets"   // read and write budgets
	ScopeAdmin     Scope = "admin"
)

// Scopes lists every scope.
func Scopes() []Scope { return []Scope{ScopeInference, ScopeUsage, ScopeBudgets, ScopeAdmin} }

// ParseScope checks a scope's name; field is what the error names.
func ParseScope(field, s string) (Scope, error) {
	if !slices.Contains(Scopes(), Scope(s)) {
		return "", Invalid("field_invalid", field, fmt.Sprintf("%s is %q; use inference, usage, budgets or admin", field, s))
	}
	return Scope(s), nil
}

// KeyPrefix starts every key's text: "sk-aig-…".
const KeyPrefix = "sk-aig-"

// KeyRepeated refuses a call that sent header, "Authorization" or "x-api-key",
// more than once: which of the keys pays would depend on who reads first.
func KeyRepeated(header string) *Error {
	return &Error{
		Kind: KindUnauthenticated, Reason: "key_invalid", Field: strings.ToLower(header),
		Message: "more than one " + header + " header was sent, or one with a comma in it; send one " + header + " header with one key",
	}
}

// SameKey reports whether two headers hold the same key, in a time that does not
// tell where they differ.
func SameKey(a, b []byte) bool { return subtle.ConstantTimeCompare(a, b) == 1 }

// KeyRefusal is err, with which the value of header was refused, unless a comma
// shows why: it is how Envoy joins an Authorization header that was sent twice.
// A key that is valid may have one.
func KeyRefusal(err error, header, value string) error {
	var e *Error
	if errors.As(err, &e) && e.Reason == "key_invalid" && strings.Contains(value, ",") {
		return KeyRepeated(header)
	}
	return err
}

// Key is a credential without its secret, and the principal it makes of its
// bearer. The ledger stores only a hash of the secret.
type Key struct {
	ID            string // "key_…"
	Name          string // for people, 1-64 printable bytes
	Scopes        []Scope
	AllowedTags   []TagPattern // empty: every tag
	DefaultTag    Tag          // for calls without a tag; empty: Untagged
	AllowedModels []string     // slugs, or "provider/*"; empty: every model
	Defaults                   // of its calls
	// MaxWait is how long its calls wait, at most, where only running calls stand
	// in their way; nil: as long as the gateway lets any wait.
	MaxWait    *time.Duration
	CreateTime time.Time
	ExpireTime time.Time // zero: never
}

// Has reports whether the key carries scope s, itself or as part of admin.
func (k *Key) Has(s Scope) bool {
	return slices.Contains(k.Scopes, s) || slices.Contains(k.Scopes, ScopeAdmin)
}

// MayUseTag reports whether calls with this key may carry t.
func (k *Key) MayUseTag(t Tag) bool {
	return len(k.AllowedTags) == 0 || slices.ContainsFunc(k.AllowedTags, func(p TagPattern) bool { return p.Matches(t) })
}

// MayUseModel reports whether calls with this key may name the slug.
func (k *Key) MayUseModel(slug string) bool {
	return len(k.AllowedModels) == 0 || slices.ContainsFunc(k.AllowedModels, func(m string) bool {
		provider, all := strings.CutSuffix(m, "/*")
		return m == slug || all && strings.HasPrefix(slug, provider+"/")
	})
}

// WaitAtMost is how long a call with the key may wait for running calls, where
// the gateway lets any wait for most.
func (k *Key) WaitAtMost(most time.Duration) time.Duration {
	if k.MaxWait != nil {
		return min(most, *k.MaxWait)
	}
	return most
}

// Check validates what a caller chose.
func (k *Key) Check() error {
	if k.Name == "" || len(k.Name) > 64 {
		return Invalid("field_invalid", "name", "name must have 1 to 64 bytes")
	}
	if len(k.Scopes) == 0 {
		return Invalid("field_invalid", "scopes", "scopes is empty; name at least one of inference, usage, budgets, admin")
	}
	for _, s := range k.Scopes {
		if _, err := ParseScope("scopes", string(s)); err != nil {
			return err
		}
	}
	if err := k.Defaults.Check(); err != nil {
		return err
	}
	return CheckMaxWait(k.MaxWait)
}

// CheckMaxWait checks the longest wait of a key's calls; nil is none of its own.
func CheckMaxWait(d *time.Duration) error {
	if d != nil && (*d < 0 || *d > maxWait) {
		return Invalid("field_invalid", "max_wait", fmt.Sprintf("max_wait is %s; use 0s (never wait) to %s, or leave it out", *d, maxWait))
	}
	return nil
}

// maxWait is the longest that anybody lets a call wait.
const maxWait = time.Minute

// CheckModel refuses a model that calls with this key may not name.
func (k *Key) CheckModel(slug string) error {
	if k.MayUseModel(slug) {
		return nil
	}
	return &Error{
		Kind: KindPermission, Reason: "model_not_allowed", Field: "model",
		Message: fmt.Sprintf("this key may not call the model %q; name one of its allowed models", Clip(slug, 100)),
	}
}

func etag(t time.Time) string { return strconv.FormatInt(t.UnixNano(), 36) }
