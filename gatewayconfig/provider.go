package gatewayconfig

import (
	"cmp"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"aigateway/pricing"
)

func (v *validator) providers(in map[string]fileProvider, listen Listen) []Provider {
	presets, err := loadPresets()
	if err != nil {
		v.fail("providers", "%v", err)
		return nil
	}
	var out []Provider
	for _, name := range slices.Sorted(maps.Keys(in)) {
		p := v.provider(name, in[name], presets)
		v.checkOwnAddress(&p, listen)
		out = append(out, p)
	}
	return out
}

func (v *validator) provider(name string, f fileProvider, presets map[string]preset) Provider {
	field := join("providers", name)
	if !validName(name) {
		v.fail(field, "is no provider name; use 1 to 40 of a-z, 0-9, -, _ and ., starting with a letter or digit")
	}
	kind, base := v.preset(field, name, f, presets)
	p := Provider{
		Name: name, Preset: kind,
		BaseURL: v.baseURL(field, v.regional(field, f, base), base.BaseURLExample),
		Auth: Auth{
			Header: strings.ToLower(first("authorization", f.AuthHeader, base.AuthHeader)),
			Prefix: first("Bearer ", f.AuthPrefix, base.AuthPrefix),
		},
		Headers: v.headers(join(field, "headers"), f.Headers),
		CA:      v.caFile(join(field, "tls.ca_file"), f.TLS.CAFile),
		APIs:    v.apis(field, f.APIs, base.APIs),

		Upstream: v.upstream(field, name, f, base),
	}
	p.AllowedBetas = v.betas(join(field, "allowed_betas"), f.AllowedBetas, base.ListedBetas)
	v.checkAuth(field, &p, p.Auth)
	v.endpoints(field, &p, f.Endpoints, base.Endpoints)
	v.checkRefused(field, &p, base)
	v.credentials(field, &p, f, base)
	return p
}

// first is the first pointer that is set, or the default.
func first[T any](def T, candidates ...*T) T {
	for _, c := range candidates {
		if c != nil {
			return *c
		}
	}
	return def
}

// validName keeps a name usable as the first segment of a slug, in a header
// and in Envoy's statistics.
func validName(s string) bool {
	for i, c := range []byte(s) {
		plain := 'a' <= c && c <= 'z' || '0' <= c && c <= '9'
		if !plain && (i == 0 || c != '-' && c != '_' && c != '.') {
			return false
		}
	}
	return s != "" && len(s) <= 40
}

// preset is the one named, or the one of the provider's own name, or
// openai_compatible when an address says where it is.
func (v *validator) preset(field, name string, f fileProvider, presets map[string]preset) (string, preset) {
	kind := f.Preset
	if kind == "" {
		kind = name
		if _, known := presets[kind]; !known && f.BaseURL != "" {
			kind = "openai_compatible"
		}
	}
	p, known := presets[kind]
	switch {
	case known:
	case f.Preset != "":
		v.fail(join(field, "preset"), "is %s, which is no preset%s", shown(kind), suggest(kind, presetNames(presets)))
	default:
		v.fail(field, "is no preset's name, so it needs a preset or a base_url%s", suggest(kind, presetNames(presets)))
	}
	return kind, p
}

func (v *validator) baseURL(field, text, example string) *url.URL {
	field = join(field, "base_url")
	if text == "" {
		v.fail(field, "is missing and the preset has none; write the address before /chat/completions, such as %s", cmp.Or(example, "https://llm.example.com/v1"))
		return nil
	}
	if strings.Contains(text, ":rawPredict") || strings.Contains(text, ":streamRawPredict") || strings.HasSuffix(text, "/invoke") || strings.HasSuffix(text, "/converse") || strings.HasSuffix(text, "-stream") {
		v.fail(field, "is a cloud's own API, with the model in its path, which is not spoken here; write the address of its OpenAI- or Anthropic-compatible endpoint")
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || !validHost(u) {
		v.fail(field, "is no address; write https://HOST[:PORT][/PATH]")
		return nil
	}
	if u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || strings.HasSuffix(text, "#") {
		// Not shown: a user part may hold a password.
		v.fail(field, "must have no user, query or fragment; a key belongs in api_key")
		return nil
	}
	u.Path = strings.TrimRight(u.Path, "/")
	if u.RawPath != "" || strings.ContainsAny(u.Path, "%\\ ?#") || strings.Contains(u.Path, "//") || !printable(u.Path) {
		v.fail(field, "has a path with escapes, spaces or //; write a plain path")
		return nil
	}
	for _, api := range pricing.Endpoints() {
		if strings.HasSuffix(u.Path, api.Path()) {
			v.fail(field, "ends in %s, which is added to it; write what stands before", api.Path())
			return nil
		}
	}
	return u
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(c rune) bool { return c < 0x21 || c > 0x7e })
}

// validHost accepts an IP, or a DNS name with a valid port if any.
func validHost(u *url.URL) bool {
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return false
		}
	}
	host := u.Hostname()
	if address, err := netip.ParseAddr(host); err == nil {
		return address.Zone() == ""
	}
	if host == "" || len(host) > 253 || strings.Trim(host, "0123456789.") == "" {
		return false
	}
	for label := range strings.SplitSeq(strings.ToLower(strings.TrimSuffix(host, ".")), ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "-") != label || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

// port is the port of a checked base URL.
func port(u *url.URL) uint32 {
	if n, err := strconv.ParseUint(u.Port(), 10, 16); err == nil {
		return uint32(n)
	}
	if u.Scheme == "http" {
		return 80
	}
	return 443
}

func (v *validator) oneOf(field, value string, known ...string) {
	if !slices.Contains(known, value) {
		v.fail(field, "is %s%s", shown(value), suggest(value, known))
	}
}

// isOwnKey recognises a key of this gateway used as a provider's: a shell that
// is set up to call the gateway exports one as OPENAI_API_KEY.
func isOwnKey(key string) bool { return strings.HasPrefix(key, "sk-aig-") }

func (v *validator) apiKey(field string, given *secretText, base preset, prefix string) Secret {
	at := join(field, "api_key")
	text := string(first("", given))
	if given == nil && base.APIKeyEnv != "" {
		text = "${" + base.APIKeyEnv + "}"
	}
	key := v.secret(at, text)
	switch {
	case isOwnKey(key.text):
		v.fail(at, "is a key of this gateway (sk-aig-…), not of the provider; use the provider's own")
	case prefix != "" && len(key.text) > len(prefix) && strings.EqualFold(key.text[:len(prefix)], prefix):
		v.fail(at, "begins with %q, which auth_prefix puts in front of it; write the key alone", prefix)
	case text == "" && base.Key == "required":
		v.fail(at, "is empty, and this provider needs a key; write api_key: ${%s} or file:PATH%s", cmp.Or(base.APIKeyEnv, "NAME"), base.otherWays())
	}
	return key
}

func (v *validator) checkAuth(field string, p *Provider, a Auth) {
	if !validHeaderName(a.Header) {
		v.fail(join(field, "auth_header"), "is no header a key can be sent in; write authorization, api-key or x-api-key")
	}
	if len(a.Prefix) > 64 || strings.ContainsFunc(a.Prefix, func(c rune) bool { return c < 0x20 || c > 0x7e }) {
		v.fail(join(field, "auth_prefix"), "is no text a header value can start with; the usual one is \"Bearer \"")
	}
	if i := slices.IndexFunc(p.Headers, func(h Header) bool { return h.Name == a.Header }); i >= 0 {
		v.fail(join(field, "headers."+a.Header), "would replace the key; use api_key, auth_header and auth_prefix")
	}
}

func (v *validator) headers(field string, in map[string]secretText) []Header {
	var out []Header
	for _, name := range slices.Sorted(maps.Keys(in)) {
		at := join(field, name)
		lower := strings.ToLower(name)
		if !validHeaderName(lower) {
			v.fail(at, "is no header that may be set; names are letters, digits and -, and not one that Envoy or this gateway owns")
			continue
		}
		if slices.ContainsFunc(out, func(h Header) bool { return h.Name == lower }) {
			v.fail(at, "is given twice in different case; remove one")
			continue
		}
		value := v.secret(at, string(in[name]))
		if in[name] == "" {
			v.fail(at, "has no value; write one or remove it")
		}
		out = append(out, Header{Name: lower, Value: value})
	}
	slices.SortFunc(out, func(a, b Header) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// validHeaderName refuses what would break framing, routing or accounting.
func validHeaderName(name string) bool {
	owned := []string{"host", "content-length", "content-type", "transfer-encoding", "connection", "te", "trailer", "upgrade",
		"accept-encoding", "content-encoding", "keep-alive", "proxy-connection", "expect"}
	if name == "" || len(name) > 100 || slices.Contains(owned, name) || strings.HasPrefix(name, "x-aig-") || strings.HasPrefix(name, "x-envoy-") {
		return false
	}
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

// checkOwnAddress refuses a provider that is this gateway, which would call
// itself until it runs out of connections.
func (v *validator) checkOwnAddress(p *Provider, listen Listen) {
	if p.BaseURL == nil {
		return
	}
	_, own, err := net.SplitHostPort(listen.Clients)
	if err != nil {
		return
	}
	host := p.BaseURL.Hostname()
	ip := net.ParseIP(host)
	local := host == "localhost" || ip != nil && (ip.IsLoopback() || ip.IsUnspecified())
	if local && own == strconv.FormatUint(uint64(port(p.BaseURL)), 10) {
		v.fail(join(join("providers", p.Name), "base_url"), "is this gateway's own address (listen.clients); write the provider's")
	}
}
