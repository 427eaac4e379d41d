package e2e_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"aigateway/fakeprovider"
)

// clientSecret has what a form must escape.
const clientSecret = "client~secret+%2B/&=?#end"

var (
	staticKeys = aws.Credentials{AccessKeyID: "AKIDSTATIC", SecretAccessKey: "static/secret+access=key", SessionToken: "static-session-token=="}
	roleKeys   = aws.Credentials{AccessKeyID: "ASIAROLE", SecretAccessKey: "role/secret+access+key", SessionToken: "role-session-token"}
)

// tokenService is an authorization server, Google's metadata server and the
// credentials endpoint of a container, with faults.
type tokenService struct {
	*httptest.Server

	mu      sync.Mutex
	fault   string               // what it does instead; empty: nothing
	lasts   time.Duration        // of new tokens
	issued  map[string]time.Time // when they end
	fetches int
	wrong   []string // requests that it should not have had
}

func startTokenService(t *testing.T) *tokenService {
	t.Helper()
	s := &tokenService{lasts: time.Hour, issued: map[string]time.Time{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *tokenService) set(fault string, lasts time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault, s.lasts = fault, lasts
}

// asked is how often it was, and what it should not have been.
func (s *tokenService) asked() (int, []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fetches, s.wrong
}

func (s *tokenService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.fetches++
	token, fault := fmt.Sprintf("token-%d.a-b_c~d+e/f==", s.fetches), s.fault
	if problem := s.problem(r); problem != "" {
		s.wrong = append(s.wrong, problem)
		fault = "error"
	} else if fault == "" {
		s.issued[token] = time.Now().Add(s.lasts)
	}
	seconds := int(s.lasts.Seconds())
	s.mu.Unlock()
	switch {
	case fault == "error":
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprintf(w, `{"error":"invalid_client","error_description":"AADSTS7000215: %s"}`, clientSecret)
	case fault == "slow":
		select {
		case <-r.Context().Done():
		case <-time.After(20 * time.Second):
		}
	case strings.HasPrefix(fault, "body:"):
		fmt.Fprint(w, strings.TrimPrefix(fault, "body:"))
	case r.URL.Path == "/role":
		fmt.Fprintf(w, `{"AccessKeyId":%q,"SecretAccessKey":%q,"Token":%q,"Expiration":"2099-01-01T00:00:00Z"}`,
			roleKeys.AccessKeyID, roleKeys.SecretAccessKey, roleKeys.SessionToken)
	default:
		fmt.Fprintf(w, `{"token_type":"Bearer","expires_in":%d,"access_token":%q}`, seconds, token)
	}
}

// problem says what is wrong with a request.
func (s *tokenService) problem(r *http.Request) string {
	switch r.URL.Path {
	case "/role":
		return ""
	case "/computeMetadata/v1/instance/service-accounts/default/token":
		if r.Method != http.MethodGet || r.Header.Get("Metadata-Flavor") != "Google" || r.URL.Query().Get("scopes") != "https://www.googleapis.com/auth/cloud-platform" {
			return fmt.Sprintf("metadata: %s %s %v", r.Method, r.URL, r.Header)
		}
		return ""
	case "/tenant/oauth2/v2.0/token":
		if err := r.ParseForm(); err != nil {
			return err.Error()
		}
		for name, want := range map[string]string{"grant_type": "client_credentials", "client_id": "the client", "client_secret": clientSecret, "scope": "https://cognitiveservices.azure.com/.default"} {
			if got := r.PostForm.Get(name); got != want {
				return fmt.Sprintf("%s is %q, want %q", name, got, want)
			}
		}
		return ""
	}
	return r.URL.String()
}

// bearer accepts tokens that were issued and have not ended.
func (s *tokenService) bearer(r *http.Request, _ []byte) error {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	defer s.mu.Unlock()
	if ends, issued := s.issued[token]; !ok || !issued || time.Now().After(ends) {
		return fmt.Errorf("no valid token: %q", r.Header.Get("Authorization"))
	}
	return nil
}

// signed accepts requests whose signature is the one that AWS's own signer makes
// for the bytes that arrived.
func signed(keys aws.Credentials, service string) func(*http.Request, []byte) error {
	return func(r *http.Request, body []byte) error {
		at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
		if err != nil || time.Since(at).Abs() > 5*time.Minute {
			return fmt.Errorf("signed at %q", r.Header.Get("X-Amz-Date"))
		}
		oracle, err := http.NewRequest(r.Method, "http://"+r.Host+r.URL.String(), nil)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(body)
		oracle.Header.Set("Content-Type", r.Header.Get("Content-Type"))
		oracle.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
		if err := v4.NewSigner().SignHTTP(r.Context(), keys, oracle, hex.EncodeToString(sum[:]), service, "eu-west-3", at); err != nil {
			return err
		}
		for _, name := range []string{"Authorization", "X-Amz-Security-Token", "X-Amz-Content-Sha256"} {
			if got, want := r.Header.Get(name), oracle.Header.Get(name); got != want {
				return fmt.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		return nil
	}
}

// cloud lets in whom it knows, and notes who else came.
type cloud struct {
	inside  http.Handler
	accepts func(*http.Request, []byte) error

	mu      sync.Mutex
	path    string // of the last request
	strange []error
}

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	err = c.accepts(r, body)
	if err == nil && r.TLS != nil && r.ProtoMajor != 2 {
		err = fmt.Errorf("came by %s", r.Proto)
	}
	if text := fmt.Sprint(r.Header); err == nil && strings.Contains(text, "sk-aig-") {
		err = errors.New("the client's key is in " + text)
	}
	c.mu.Lock()
	c.path = r.URL.Path
	if err != nil {
		c.strange = append(c.strange, err)
	}
	c.mu.Unlock()
	if err != nil {
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"error":{"message":"who are you?"}}`)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	r.Header.Set("Authorization", "Bearer "+providerKey)
	r.URL.Path = r.URL.Path[strings.LastIndex(r.URL.Path, "/v1/"):]
	c.inside.ServeHTTP(w, r)
}

func (c *cloud) seen() (string, []error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.path, c.strange
}

// cloudGateway is a gateway with providers that know it by the clouds'
// credentials.
type cloudGateway struct {
	*gateway
	tokens *tokenService
	clouds map[string]*cloud
	bill   map[string]*fakeprovider.Server
}

// newCloudGateway has the clouds, and where client secrets are sent, behind TLS
// and HTTP/2 if secure.
func newCloudGateway(t *testing.T, secure bool) *cloudGateway {
	t.Helper()
	c := &cloudGateway{gateway: newGateway(t), tokens: startTokenService(t), clouds: map[string]*cloud{}, bill: map[string]*fakeprovider.Server{}}
	var urls []any
	front := func(h http.Handler) string {
		server := httptest.NewUnstartedServer(h)
		t.Cleanup(server.Close)
		if !secure {
			server.Start()
			return server.URL
		}
		server.EnableHTTP2 = true
		server.StartTLS()
		certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}) // all have the same
		if err := os.WriteFile(filepath.Join(c.dir, "ca.pem"), certificate, 0o600); err != nil {
			t.Fatal(err)
		}
		return server.URL
	}
	for _, p := range []struct {
		name    string
		accepts func(*http.Request, []byte) error
	}{
		{"az", c.tokens.bearer}, {"vx", c.tokens.bearer}, {"br", signed(staticKeys, "bedrock")}, {"mantle", signed(staticKeys, "bedrock-mantle")}, {"role", signed(roleKeys, "bedrock")},
	} {
		server, _ := startProvider(t, fakeprovider.Config{})
		at := &cloud{inside: server, accepts: p.accepts}
		c.clouds[p.name], c.bill[p.name] = at, server
		urls = append(urls, front(at))
	}
	c.settings["Models"] = append([]string{"az/m1", "vx/m1", "br/m1", "mantle/m1", "role/m1"}, pricedModels...)
	c.settings["Extra"] = fmt.Sprintf(`
  az: {preset: azure, base_url: "%s/openai/v1", oauth2: {token_url: "`+front(c.tokens)+`/tenant/oauth2/v2.0/token", client_id: the client, client_secret: "file:secret"}}
  vx: {preset: vertex, base_url: "%s/v1/projects/p/locations/l/endpoints/openapi/v1"}
  br: {preset: bedrock, base_url: "%s/openai/v1", aws: {region: eu-west-3, access_key_id: "${STATIC_ID}", secret_access_key: "${STATIC_KEY}", session_token: "${STATIC_TOKEN}"}}
  mantle: {preset: bedrock-mantle, base_url: "%s", aws: {region: eu-west-3, access_key_id: "${STATIC_ID}", secret_access_key: "${STATIC_KEY}", session_token: "${STATIC_TOKEN}"}}
  role: {preset: bedrock, base_url: "%s/openai/v1", aws: {region: eu-west-3}}
`, urls...)
	if secure {
		c.settings["Extra"] = fmt.Sprint(c.settings["Extra"], "tls: {ca_file: ca.pem}\n")
	}
	if err := os.WriteFile(filepath.Join(c.dir, "secret"), []byte(clientSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.writeConfig()
	return c
}

func (c *cloudGateway) start() {
	c.t.Helper()
	c.program = startProcess(c.t, c.dir, "run", []string{
		"GCE_METADATA_HOST=" + strings.TrimPrefix(c.tokens.URL, "http://"), "AWS_CONTAINER_CREDENTIALS_FULL_URI=" + c.tokens.URL + "/role", "AWS_EC2_METADATA_DISABLED=true",
		"STATIC_ID=" + staticKeys.AccessKeyID, "STATIC_KEY=" + staticKeys.SecretAccessKey, "STATIC_TOKEN=" + staticKeys.SessionToken,
	}, binary, "run", "--config", c.config)
	c.waitReady()
}

// TestClouds calls each cloud, with bodies that are spliced and streams: each
// lets the gateway in by its own credential, never by a client's, and its bill is
// what is charged.
func TestClouds(t *testing.T) {
	t.Parallel()
	c := newCloudGateway(t, true)
	c.start()
	c.setBudget("**", 10_000_000)
	large := strings.Repeat("large ", 1<<18)
	for name, paths := range map[string]map[string]string{
		"az":     {"chat/completions": "/openai/v1/chat/completions"},
		"vx":     {"chat/completions": "/v1/projects/p/locations/l/endpoints/openapi/v1/chat/completions"},
		"br":     {"chat/completions": "/openai/v1/chat/completions"},
		"mantle": {"chat/completions": "/openai/v1/chat/completions", "messages": "/anthropic/v1/messages"},
		"role":   {"chat/completions": "/openai/v1/chat/completions"},
	} {
		for api, path := range paths {
			for more, text := range map[string]string{`,"max_tokens":9`: "hello", `,"max_tokens":9,"stream":true`: large, `,"max_tokens":8,"stream":true`: "grüße"} {
				body := chatBody(name+"/m1", name, text, more)
				if api == "messages" {
					body = strings.Replace(body, `"user":"`+name+`"`, `"metadata":{"user_id":"`+name+`"}`, 1)
				}
				r := c.insist(http.MethodPost, c.url+"/v1/"+api, body, tagged("cloud/"+name))
				seen, strange := c.clouds[name].seen()
				if r.status != http.StatusOK || r.err != nil || seen != path || len(strange) > 0 {
					t.Errorf("%s %s, %d bytes%s: %d %.300s %v, at %s %v", name, api, len(body), more, r.status, r.body, r.err, seen, strange)
				}
			}
		}
	}
	c.settle(time.Minute)
	for name, server := range c.bill {
		billed, got := int64(0), c.usage()["cloud/"+name]
		for _, b := range server.BillByUser() {
			billed += b.NanoUSD
		}
		if got.nano != billed || billed == 0 {
			t.Errorf("%s billed %d, charged %+v", name, billed, got)
		}
	}
	if n, wrong := c.tokens.asked(); len(wrong) > 0 || n > 30 {
		t.Errorf("the token service was asked %d times, wrongly: %q", n, wrong)
	}
	c.keepsSecrets(t)
}

// keepsSecrets looks for what must not be found in what is written down.
func (c *cloudGateway) keepsSecrets(t *testing.T) {
	t.Helper()
	written := c.program.output()
	if err := filepath.WalkDir(filepath.Join(c.dir, "data"), func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		written += string(data)
		return err
	}); err != nil {
		t.Error(err)
	}
	for _, secret := range []string{clientSecret, staticKeys.SecretAccessKey, staticKeys.SessionToken, roleKeys.SecretAccessKey, roleKeys.SessionToken, "token-1.a"} {
		if i := strings.Index(written, secret); i >= 0 {
			t.Errorf("%s is written down: %.200q", secret, written[max(0, i-100):])
		}
	}
}

// TestCloudsWithoutCredentials has token services that fail in every way: while
// there is no credential nothing is sent and nothing charged, and the moment
// there is one, calls pass.
func TestCloudsWithoutCredentials(t *testing.T) {
	t.Parallel()
	c := newCloudGateway(t, false)
	c.tokens.set("error", time.Hour)
	c.start()
	c.setBudget("**", 10_000_000)
	refused := func(name, when string) {
		t.Helper()
		e := wantError(t, c.try(http.MethodPost, c.url+"/v1/chat/completions", chatBody(name+"/m1", name, "hi", ""), tagged("none")), http.StatusServiceUnavailable, "service_unavailable")
		if e.Error.Metadata["reason"] != "credential_unavailable" || !strings.Contains(e.Error.Message, "nothing was sent") {
			t.Errorf("%s, %s: %+v", name, when, e.Error)
		}
	}
	passes := func(name, when string) {
		t.Helper()
		eventually(t, time.Minute, name+" has a credential again, "+when, func() bool {
			return c.try(http.MethodPost, c.url+"/v1/chat/completions", chatBody(name+"/m1", name, "hi", `,"max_tokens":9`), tagged("some")).status == http.StatusOK
		})
	}
	for _, name := range []string{"az", "vx", "role"} {
		refused(name, "at the start")
	}
	c.settle(time.Minute)
	if got := c.usage()["none"]; got.requests != 0 || got.nano != 0 {
		t.Errorf("charged %+v for what was not sent", got)
	}
	for _, fault := range []string{"body:", `body:{"access_token":"x","expires_in":0}`, "body:<html>sign in</html>"} {
		before, _ := c.tokens.asked()
		c.tokens.set(fault, time.Hour)
		eventually(t, time.Minute, "the service is asked again", func() bool { n, _ := c.tokens.asked(); return n > before+1 })
		refused("az", fault)
		refused("vx", fault)
	}
	c.tokens.set("", 8*time.Second)
	passes("az", "after all that")
	passes("vx", "after all that")
	// A token is good until it ends, whatever became of the service.
	c.tokens.set("slow", time.Hour)
	passes("az", "with what is left")
	eventually(t, time.Minute, "the token ends", func() bool {
		r := c.try(http.MethodPost, c.url+"/v1/chat/completions", chatBody("az/m1", "az", "hi", `,"max_tokens":9`), tagged("some"))
		return r.status != http.StatusOK
	})
	eventually(t, time.Minute, "the ended token is forgotten", func() bool {
		r := c.try(http.MethodPost, c.url+"/v1/chat/completions", chatBody("az/m1", "az", "hi", `,"max_tokens":9`), tagged("some"))
		var e envelope
		return json.Unmarshal(r.body, &e) == nil && e.Error.Metadata["reason"] == "credential_unavailable"
	})
	c.tokens.set("", time.Hour)
	passes("az", "at the end")
	c.settle(time.Minute)
	billed := c.billed()
	if got := c.usage()["some"]; got.nano != billed {
		t.Errorf("billed %d, charged %+v", billed, got)
	}
	c.keepsSecrets(t)
}

func (c *cloudGateway) billed() int64 {
	billed := int64(0)
	for _, server := range c.bill {
		for _, b := range server.BillByUser() {
			billed += b.NanoUSD
		}
	}
	return billed
}

// TestCloudRefusesToken is a cloud that does not take a token any more: the
// client learns that it is not at fault, and pays nothing.
func TestCloudRefusesToken(t *testing.T) {
	t.Parallel()
	c := newCloudGateway(t, false)
	for _, at := range c.clouds {
		at.accepts = func(*http.Request, []byte) error { return errors.New("revoked") }
	}
	c.start()
	c.setBudget("**", 10_000_000)
	for name := range c.clouds {
		e := wantError(t, c.insist(http.MethodPost, c.url+"/v1/chat/completions", chatBody(name+"/m1", name, "hi", ""), tagged("revoked")), http.StatusBadGateway, "provider_error")
		if e.Error.Metadata["reason"] != "upstream_auth" {
			t.Errorf("%s: %+v", name, e.Error)
		}
	}
	c.settle(time.Minute)
	if got := c.usage()["revoked"]; got.nano != 0 {
		t.Errorf("charged %+v", got)
	}
}
