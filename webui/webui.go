package webui

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"aigateway/apierror"
	"aigateway/budget"
)

//go:embed page
var page embed.FS

// policy lets the page load its own files and ask its own origin, and nothing else.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

// Authenticator finds the key of a secret. Its errors are *budget.Error of kind
// unauthenticated.
type Authenticator interface {
	Authenticate(secret string) (*budget.Key, error)
}

// Config is what a Handler needs; all of it is required, but Issuer and Sessions.
type Config struct {
	Auth   Authenticator
	REST   http.Handler // the API, which also gets what is not below /ui
	Now    func() time.Time
	Issuer *Issuer // signs people in, whom Auth must know; nil: keys alone do
	// Sessions is a file that keeps who is signed in over a restart; empty: nobody is
	// after one.
	Sessions string
	// Store keeps that instead where several gateways share one: a session of one of
	// them is one of all. nil: this gateway is alone.
	Store Store
}

// Handler is the page in front of the API. It is safe for concurrent use. Close it when
// its server shuts down.
type Handler struct {
	Config
	sessions *sessions
	tickets  *sessions // addresses of the page that sign in once
	files    map[string]file
	streams  atomic.Int64 // that are open
	closed   chan struct{}
	once     sync.Once // closes closed
}

// file is one of the page's.
type file struct {
	body []byte
	kind string // content type
	tag  string // ETag
}

// New returns a Handler.
func New(c Config) (*Handler, error) {
	kept, err := openSessions(c.Sessions, c.Store)
	if err != nil {
		return nil, err
	}
	h := &Handler{Config: c, sessions: kept, tickets: &sessions{what: "ticket", most: maxTickets, store: c.Store, byHash: map[string]sealed{}}, files: map[string]file{}, closed: make(chan struct{})}
	err = fs.WalkDir(page, "page", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		kind, ok := map[string]string{".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}[path.Ext(name)]
		if !ok {
			return fmt.Errorf("webui: %s has no content type", name)
		}
		body, err := page.ReadFile(name)
		sum := sha256.Sum256(body)
		h.files["/ui"+strings.TrimPrefix(name, "page")] = file{body, kind, `"` + hex.EncodeToString(sum[:8]) + `"`}
		return err
	})
	h.files["/ui/"] = h.files["/ui/index.html"]
	return h, err
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := r.URL.Path
	if at == "/ui" {
		http.Redirect(w, r, "/ui/", http.StatusFound)
		return
	}
	if !strings.HasPrefix(at, "/ui/") {
		h.REST.ServeHTTP(w, r)
		return
	}
	head := w.Header()
	head.Set("Content-Security-Policy", policy)
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("Cross-Origin-Resource-Policy", "same-origin")
	head.Set("Cache-Control", "no-store")
	switch {
	case at == "/ui/session":
		h.session(w, r)
	case at == "/ui/oidc" || strings.HasPrefix(at, "/ui/oidc/"):
		h.oidc(w, r)
	case at == "/ui/ticket":
		h.ticket(w, r)
	case at == "/ui/events" && r.Method == http.MethodGet:
		h.events(w, r)
	case strings.HasPrefix(at, "/ui/api/v1/"):
		h.api(w, r)
	default:
		h.static(w, r)
	}
}

func (h *Handler) static(w http.ResponseWriter, r *http.Request) {
	f, ok := h.files[r.URL.Path]
	if !ok || r.Method != http.MethodGet && r.Method != http.MethodHead {
		refuse(w, r, budget.NotFound("route_unknown", "the page has no such file; open /ui/"))
		return
	}
	w.Header().Set("Content-Type", f.kind)
	w.Header().Set("ETag", f.tag)
	w.Header().Set("Cache-Control", "no-cache") // kept, and asked about
	if r.Header.Get("If-None-Match") == f.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(f.body)
}

// api hands a request of the page to REST with the key of its session.
func (h *Handler) api(w http.ResponseWriter, r *http.Request) {
	secret, err := h.signedIn(r)
	if err != nil {
		refuse(w, r, err)
		return
	}
	inner := r.Clone(r.Context())
	inner.URL.Path, inner.URL.RawPath = strings.TrimPrefix(r.URL.Path, "/ui/api"), ""
	inner.RequestURI = inner.URL.RequestURI()
	inner.Header.Del("Cookie")
	inner.Header.Del("X-Api-Key")
	inner.Header.Set("Authorization", "Bearer "+secret)
	h.REST.ServeHTTP(w, inner)
}

// ownPage refuses what no page of this origin sent: a browser says where a request
// comes from, and no page can make it say otherwise.
func ownPage(r *http.Request) error {
	if r.Header.Get("Sec-Fetch-Site") == "same-origin" {
		return nil
	}
	return &budget.Error{Kind: budget.KindPermission, Reason: "cross_site",
		Message: "this is for the page at /ui/ alone, in a browser that sends Sec-Fetch-Site: same-origin; programs send a key to /v1/"}
}

// refuse answers with an error as REST writes it.
func refuse(w http.ResponseWriter, r *http.Request, err error) {
	var e *budget.Error
	if !errors.As(err, &e) {
		e = apierror.From(err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(apierror.Status(e))
	_, _ = w.Write(apierror.Body(apierror.OpenAI, e, r.Header.Get("X-Request-Id")))
}
