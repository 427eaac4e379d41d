package gatewayconfig

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	awsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/common/aws/v3"
	signingv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/aws_request_signing/v3"
	injectorv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/credential_injector/v3"
	gcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/gcp_authn/v3"
	codecv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/upstream_codec/v3"
	genericv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/injected_credentials/generic/v3"
	oauth2v3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/injected_credentials/oauth2/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"

	"aigateway/envoy"
)

// setCredential adds what the provider knows us by.
func (u *upstream) setCredential(options *httpv3.HttpProtocolOptions, p *Provider, a Auth) error {
	switch {
	case p.OAuth2 != nil:
		return u.injectToken(options, p, a)
	case p.AWS != nil:
		return u.sign(options, p.AWS)
	case p.GCP:
		return u.askGoogle(options)
	case !p.APIKey.Empty():
		return u.inject(options, secretName(p, a, "key"), a.Header, a.Prefix, p.APIKey)
	}
	return nil
}

// identify tells credentials apart that Envoy keeps in a cluster: another one is
// another cluster, so that calls under way end with the old one. A client secret
// is replaced under way.
func (p *Provider) identify(w io.Writer) {
	switch {
	case p.OAuth2 != nil:
		fmt.Fprintf(w, "|oauth2|%s|%s|%q", p.OAuth2.TokenURL, p.OAuth2.ClientID, p.OAuth2.Scopes)
	case p.AWS != nil:
		keys := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", p.AWS.AccessKeyID.Reveal(), p.AWS.SecretAccessKey.Reveal(), p.AWS.SessionToken.Reveal()))
		fmt.Fprintf(w, "|aws|%s|%s|%x", p.AWS.Region, p.AWS.Service, keys)
	case p.GCP:
		fmt.Fprint(w, "|gcp")
	}
}

func (u *upstream) inject(options *httpv3.HttpProtocolOptions, name, header, prefix string, value Secret) error {
	u.secrets = append(u.secrets, genericSecret(name, value))
	u.texts = append(u.texts, value.Reveal())
	return addInjector(options, "envoy.http.injected_credentials.generic", &genericv3.Generic{
		Credential:        &tlsv3.SdsSecretConfig{Name: name, SdsConfig: viaADS()},
		Header:            header,
		HeaderValuePrefix: prefix,
	})
}

// addInjector adds a credential, or refuses the request: sending it without
// could bill somebody else.
func addInjector(options *httpv3.HttpProtocolOptions, name string, credential proto.Message) error {
	packed, err := pack(credential)
	if err != nil {
		return err
	}
	return addFilter(options, "envoy.filters.http.credential_injector", &injectorv3.CredentialInjector{
		Overwrite:  true,
		Credential: &corev3.TypedExtensionConfig{Name: name, TypedConfig: packed},
	})
}

func genericSecret(name string, value Secret) *tlsv3.Secret {
	return &tlsv3.Secret{Name: name, Type: &tlsv3.Secret_GenericSecret{
		GenericSecret: &tlsv3.GenericSecret{Secret: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: value.Reveal()}}},
	}}
}

// injectToken has Envoy get tokens by client credentials.
func (u *upstream) injectToken(options *httpv3.HttpProtocolOptions, p *Provider, a Auth) error {
	name := secretName(p, a, "client_secret")
	u.secrets = append(u.secrets, genericSecret(name, p.OAuth2.ClientSecret))
	u.texts = append(u.texts, p.OAuth2.ClientSecret.Reveal())
	return addInjector(options, "envoy.http.injected_credentials.oauth2", &oauth2v3.OAuth2{
		TokenEndpoint: &corev3.HttpUri{
			Uri: p.OAuth2.TokenURL.String(), Timeout: durationpb.New(envoy.TokenTimeout),
			HttpUpstreamType: &corev3.HttpUri_Cluster{Cluster: tokenClusterName(p.OAuth2.TokenURL)},
		},
		Scopes: p.OAuth2.Scopes,
		FlowType: &oauth2v3.OAuth2_ClientCredentials_{ClientCredentials: &oauth2v3.OAuth2_ClientCredentials{
			ClientId:     p.OAuth2.ClientID,
			ClientSecret: &tlsv3.SdsSecretConfig{Name: name, SdsConfig: viaADS()},
			AuthType:     oauth2v3.OAuth2_URL_ENCODED_BODY,
		}},
		TokenFetchRetryInterval: durationpb.New(time.Second),
	})
}

// sign has Envoy sign requests, the body as it is sent. Of the headers only
// those are signed that nobody on the way changes.
func (u *upstream) sign(options *httpv3.HttpProtocolOptions, a *AWS) error {
	config := &signingv3.AwsRequestSigning{
		ServiceName: a.Service, Region: a.Region,
		MatchIncludedHeaders: []*matcherv3.StringMatcher{
			{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: "content-type"}},
			{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: "x-amz-"}},
		},
	}
	if !a.AccessKeyID.Empty() {
		config.CredentialProvider = &awsv3.AwsCredentialProvider{InlineCredential: &awsv3.InlineCredentialProvider{
			AccessKeyId: a.AccessKeyID.Reveal(), SecretAccessKey: a.SecretAccessKey.Reveal(), SessionToken: a.SessionToken.Reveal(),
		}}
		u.texts = append(u.texts, a.SecretAccessKey.Reveal(), a.SessionToken.Reveal())
	}
	if err := addFilter(options, "envoy.filters.http.aws_request_signing", config); err != nil {
		return err
	}
	return addFilter(options, envoy.FilterLua, envoy.RequireCredential())
}

// cloudPlatform is the scope that all of Google's APIs accept.
const cloudPlatform = "https://www.googleapis.com/auth/cloud-platform"

// askGoogle has envoy.FilterGCP add a token.
func (u *upstream) askGoogle(options *httpv3.HttpProtocolOptions) error {
	audience, err := pack(&gcpv3.Audience{AccessToken: &gcpv3.Audience_AccessToken{Scopes: []string{cloudPlatform}}})
	if err != nil {
		return err
	}
	u.cluster.Metadata = &corev3.Metadata{TypedFilterMetadata: map[string]*anypb.Any{envoy.FilterGCP: audience}}
	return addFilter(options, envoy.FilterLua, envoy.RequireCredential())
}

func tokenClusterName(u *url.URL) string {
	h := sha256.Sum256(fmt.Appendf(nil, "%s|%s|%d", u.Scheme, strings.ToLower(u.Hostname()), port(u)))
	return "token_" + shortHash(h[:])
}

// tokenServices are the clusters that tokens come from.
func tokenServices(c *Config) ([]*upstream, error) {
	var out []*upstream
	add := func(name string, base *url.URL) error {
		if slices.ContainsFunc(out, func(u *upstream) bool { return u.cluster.GetName() == name }) {
			return nil
		}
		u, err := newTokenService(c, name, base)
		out = append(out, u)
		return err
	}
	for _, p := range c.Providers {
		if p.OAuth2 != nil {
			if err := add(tokenClusterName(p.OAuth2.TokenURL), p.OAuth2.TokenURL); err != nil {
				return nil, fmt.Errorf("render the token service of %s: %w", p.Name, err)
			}
		}
	}
	if c.GCPMetadata != "" {
		if err := add(envoy.ClusterGCPMetadata, &url.URL{Scheme: "http", Host: c.GCPMetadata}); err != nil {
			return nil, fmt.Errorf("render Google's metadata server: %w", err)
		}
	}
	return out, nil
}

func newTokenService(c *Config, name string, base *url.URL) (*upstream, error) {
	u := &upstream{cluster: baseCluster(name)}
	if err := u.setAddress(base); err != nil {
		return nil, err
	}
	if base.Scheme == "https" {
		if err := u.setTLS(base, c.SystemCA, systemCASecret); err != nil {
			return nil, err
		}
	}
	options := &httpv3.HttpProtocolOptions{
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{IdleTimeout: durationpb.New(poolIdle)},
		UpstreamProtocolOptions:   explicitHTTP1(),
	}
	if err := addFilter(options, envoy.FilterLua, envoy.CheckToken()); err != nil {
		return nil, err
	}
	if err := addFilter(options, "envoy.filters.http.upstream_codec", &codecv3.UpstreamCodec{}); err != nil {
		return nil, err
	}
	return u, u.setOptions(options)
}
