// Package oidctest is an issuer of ID tokens for tests. It signs by hand, so that it
// does not share the mistakes of the library that it tests.
package oidctest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"
)

// Issuer answers as an issuer does and signs in whoever comes. Its fields may be changed
// between requests.
type Issuer struct {
	URL, ClientID, ClientSecret string
	Now                         func() time.Time

	Claims  map[string]any                   // on top of those that a token must have; nil values leave one out
	Deny    string                           // instead of a code: this error
	Forge   bool                             // sign with another key
	None    bool                             // no signature at all
	TokenTo string                           // the token endpoint redirects there
	Named   string                           // the issuer that discovery names
	Post    bool                             // the client's secret is taken in the body alone
	Heard   func(r *http.Request)            // is called with each request, before its answer
	Answer  func(q url.Values)               // changes what the browser is sent back with
	Tokens  func(form url.Values) url.Values // changes what came to the token endpoint

	key, other *rsa.PrivateKey
	mu         sync.Mutex
	codes      map[string]url.Values // what each was asked for with
}

// signers are slow to make, and the same for all.
var signers = sync.OnceValues(func() (key, other *rsa.PrivateKey) {
	for _, into := range []**rsa.PrivateKey{&key, &other} {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(fmt.Sprintf("oidctest: key: %v", err))
		}
		*into = k
	}
	return key, other
})

// New starts an issuer that ends with the test.
func New(t testing.TB, now func() time.Time) *Issuer {
	t.Helper()
	i := &Issuer{ClientID: "aigateway", ClientSecret: "between us", Now: now, codes: map[string]url.Values{}}
	i.key, i.other = signers()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", i.discovery)
	mux.HandleFunc("GET /jwks", i.keys)
	mux.HandleFunc("GET /authorize", i.authorize)
	mux.HandleFunc("POST /token", i.token)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if i.Heard != nil {
			i.Heard(r)
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	i.URL, i.Named = s.URL, s.URL
	return i
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

func (i *Issuer) discovery(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]any{
		"issuer": i.Named, "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token", "jwks_uri": i.URL + "/jwks",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"}, "id_token_signing_alg_values_supported": []string{"RS256"},
	})
}

func (i *Issuer) keys(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "1", "n": encode(i.key.N.Bytes()), "e": encode(big.NewInt(int64(i.key.E)).Bytes()),
	}}})
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func (i *Issuer) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	for name, want := range map[string]string{"client_id": i.ClientID, "response_type": "code", "code_challenge_method": "S256"} {
		if q.Get(name) != want {
			reply(w, http.StatusBadRequest, map[string]string{"error": name})
			return
		}
	}
	back := url.Values{"state": {q.Get("state")}, "iss": {i.URL}}
	if i.Deny != "" {
		back.Set("error", i.Deny)
	} else {
		code := rand.Text()
		i.mu.Lock()
		i.codes[code] = q
		i.mu.Unlock()
		back.Set("code", code)
	}
	if i.Answer != nil {
		i.Answer(back)
	}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusSeeOther)
}

func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	if i.TokenTo != "" {
		http.Redirect(w, r, i.TokenTo, http.StatusTemporaryRedirect)
		return
	}
	_ = r.ParseForm()
	form := r.PostForm
	if i.Tokens != nil {
		form = i.Tokens(form)
	}
	id, secret, ok := r.BasicAuth()
	if !ok || i.Post {
		id, secret = form.Get("client_id"), form.Get("client_secret")
	}
	id, _ = url.QueryUnescape(id)
	secret, _ = url.QueryUnescape(secret)
	if id != i.ClientID || secret != i.ClientSecret {
		reply(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
		return
	}
	i.mu.Lock()
	asked := i.codes[form.Get("code")]
	delete(i.codes, form.Get("code"))
	i.mu.Unlock()
	sum := sha256.Sum256([]byte(form.Get("code_verifier")))
	if asked == nil || asked.Get("redirect_uri") != form.Get("redirect_uri") || asked.Get("code_challenge") != encode(sum[:]) {
		reply(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
		return
	}
	reply(w, http.StatusOK, map[string]any{"access_token": "opaque", "token_type": "Bearer", "expires_in": 60, "id_token": i.idToken(asked.Get("nonce"))})
}

// idToken signs the claims, RS256.
func (i *Issuer) idToken(nonce string) string {
	claims := map[string]any{"iss": i.URL, "sub": "1000", "aud": i.ClientID, "nonce": nonce, "iat": i.Now().Unix(), "exp": i.Now().Add(time.Hour).Unix()}
	maps.Copy(claims, i.Claims)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	head, key := `{"alg":"RS256","kid":"1"}`, i.key
	if i.Forge {
		key = i.other
	}
	body, err := json.Marshal(claims)
	if err != nil {
		panic(fmt.Sprintf("oidctest: claims: %v", err))
	}
	if i.None {
		return encode([]byte(`{"alg":"none"}`)) + "." + encode(body) + "."
	}
	text := encode([]byte(head)) + "." + encode(body)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		panic(fmt.Sprintf("oidctest: sign: %v", err))
	}
	return text + "." + encode(signature)
}
