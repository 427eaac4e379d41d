package gatewayconfig

import (
	"cmp"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// bearer is how tokens are sent.
func bearer() Auth { return Auth{Header: "authorization", Prefix: "Bearer "} }

// Credential names how the provider knows this gateway: key, oauth2, aws,
// gcp_metadata or none.
func (p *Provider) Credential() string {
	switch {
	case p.OAuth2 != nil:
		return "oauth2"
	case p.AWS != nil:
		return "aws"
	case p.GCP:
		return "gcp_metadata"
	case !p.APIKey.Empty():
		return "key"
	}
	return "none"
}

// ownCredentials reports whether Envoy gets the credential itself, instead of
// being given a key.
func (p *Provider) ownCredentials() bool { return p.OAuth2 != nil || p.AWS != nil || p.GCP }

// credentials reads how the provider knows us: by a key, or by one of the ways of
// the clouds.
func (v *validator) credentials(field string, p *Provider, f fileProvider, base preset) {
	p.OAuth2 = v.oauth2(join(field, "oauth2"), f.OAuth2, base)
	p.AWS = v.aws(join(field, "aws"), f.AWS, base)
	given := f.APIKey != nil || p.OAuth2 != nil || p.AWS != nil
	p.GCP = first(base.GCPMetadata && !given, f.GCPMetadata)
	if !p.ownCredentials() {
		p.APIKey = v.apiKey(field, f.APIKey, base, p.Auth.Prefix)
		return
	}
	if n := count(f.APIKey != nil, p.OAuth2 != nil, p.AWS != nil, p.GCP); n > 1 {
		v.fail(field, "has %d of api_key, oauth2, aws and gcp_metadata; keep the one it knows this gateway by", n)
	}
	if f.AuthHeader != nil || f.AuthPrefix != nil {
		v.fail(join(field, "auth_header"), "is for api_key; tokens and signatures go in authorization, so remove it")
	}
	p.Auth = bearer()
	for api, e := range p.Endpoints {
		e.Auth = bearer()
		p.Endpoints[api] = e
	}
	v.checkAuth(field, p, p.Auth)
}

func count(set ...bool) int {
	n := 0
	for _, s := range set {
		if s {
			n++
		}
	}
	return n
}

func (v *validator) oauth2(field string, f *fileOAuth2, base preset) *OAuth2 {
	if f == nil {
		return nil
	}
	tenant := v.needed(join(field, "tenant_id"), f.TenantID, f.TokenURL == "" && strings.Contains(base.OAuth2.TokenURL, "{tenant_id}"))
	if strings.Trim(strings.ToLower(tenant.text), "abcdefghijklmnopqrstuvwxyz0123456789.-") != "" {
		v.fail(join(field, "tenant_id"), "is no tenant; write its id or its domain name")
	}
	o := &OAuth2{
		ClientID:     v.needed(join(field, "client_id"), f.ClientID, true).text,
		ClientSecret: v.needed(join(field, "client_secret"), f.ClientSecret, true),
		TokenURL:     v.tokenURL(join(field, "token_url"), cmp.Or(f.TokenURL, strings.ReplaceAll(base.OAuth2.TokenURL, "{tenant_id}", tenant.text))),
		Scopes:       base.OAuth2.Scopes,
	}
	if f.Scopes != nil {
		o.Scopes = f.Scopes
	}
	for i, s := range o.Scopes {
		if s == "" || len(s) > 500 || strings.ContainsAny(s, "\"\\") || !printable(s) { // RFC 6749, section 3.3
			v.fail(join(field, "scopes")+"["+strconv.Itoa(i)+"]", "is %s, which is no scope; write one without spaces", shown(s))
		}
	}
	return o
}

// needed is a secret or an id, which must be there if must is set.
func (v *validator) needed(field string, text secretText, must bool) Secret {
	value := v.secret(field, string(text))
	if must && text == "" {
		v.fail(field, "is missing; write it, or ${NAME} or file:PATH")
	}
	return value
}

// tokenURL is where a client secret is sent.
func (v *validator) tokenURL(field, text string) *url.URL {
	if text == "" {
		v.fail(field, "is missing, and the preset has none; write the token endpoint, such as https://login.example.com/oauth2/token")
		return nil
	}
	u := plainURL(text)
	if u == nil {
		v.fail(field, "is no token endpoint; write https://HOST[:PORT]/PATH, without user, query or fragment")
		return nil
	}
	if u.Scheme == "http" && !loopback(u.Hostname()) {
		v.fail(field, "is not https: the client secret would travel in clear; write https://")
	}
	return u
}

// plainURL is an http or https URL of a host and a path alone; nil: text is none.
func plainURL(text string) *url.URL {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || !validHost(u) || u.User != nil || u.RawQuery != "" || u.ForceQuery || strings.Contains(text, "#") || u.RawPath != "" || !printable(u.Path) {
		return nil
	}
	return u
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

func (v *validator) aws(field string, f *fileAWS, base preset) *AWS {
	if f == nil {
		return nil
	}
	a := &AWS{
		Region: f.Region, Service: cmp.Or(f.Service, base.AWSService),
		AccessKeyID:     v.needed(join(field, "access_key_id"), f.AccessKeyID, f.SecretAccessKey != ""),
		SecretAccessKey: v.needed(join(field, "secret_access_key"), f.SecretAccessKey, f.AccessKeyID != ""),
		SessionToken:    v.needed(join(field, "session_token"), f.SessionToken, false),
	}
	if f.SessionToken != "" && f.AccessKeyID == "" {
		v.fail(join(field, "session_token"), "belongs to keys; write access_key_id and secret_access_key, too, or none of them")
	}
	if !awsWord(a.Region) {
		v.fail(join(field, "region"), "is %s; write the region of base_url, such as us-east-1", shown(a.Region))
	}
	if !awsWord(a.Service) {
		v.fail(join(field, "service"), "is %s; write the name that signatures have there, such as bedrock", shown(a.Service))
	}
	return a
}

// awsWord accepts names of regions and services, which stand in a signature's
// scope and in host names.
func awsWord(s string) bool {
	return s != "" && len(s) <= 40 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" && strings.Trim(s, "-") == s
}

// regional fills the region into a preset's address.
func (v *validator) regional(field string, f fileProvider, base preset) string {
	if f.BaseURL != "" || !strings.Contains(base.BaseURL, "{region}") {
		return cmp.Or(f.BaseURL, base.BaseURL)
	}
	if f.AWS == nil {
		v.fail(join(field, "base_url"), "needs a region; write aws: {region: us-east-1} to sign requests, or with api_key base_url: %s", strings.ReplaceAll(base.BaseURL, "{region}", "us-east-1"))
		return ""
	}
	region := f.AWS.Region
	if !awsWord(region) {
		region = "invalid" // told where it is read
	}
	return strings.ReplaceAll(base.BaseURL, "{region}", region)
}

// gcpMetadata is where Google's SDKs look for the metadata server, too.
func (v *validator) gcpMetadata(providers []Provider) string {
	if !slices.ContainsFunc(providers, func(p Provider) bool { return p.GCP }) {
		return ""
	}
	text := cmp.Or(v.secrets.getenv("GCE_METADATA_HOST"), "metadata.google.internal")
	u, err := url.Parse("http://" + text)
	if err != nil || u.Host != text || !validHost(u) {
		v.fail("providers", "GCE_METADATA_HOST is %s, which is no HOST[:PORT]; unset it to use metadata.google.internal", shown(text))
		return ""
	}
	return net.JoinHostPort(u.Hostname(), strconv.FormatUint(uint64(port(u)), 10))
}

// checkRefused refuses APIs that the preset's provider has in another wire format.
func (v *validator) checkRefused(field string, p *Provider, base preset) {
	for _, api := range p.APIs {
		if why := base.Refuses[string(api)]; why != "" {
			v.fail(join(field, "apis"), "holds %s: %s", api, why)
		}
	}
	p.Refuses = base.Refuses
}
