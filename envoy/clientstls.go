package envoy

import (
	"path/filepath"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
)

// ClientsTLS is the certificate that clients are served with. Envoy reads both
// files again when something is renamed in the folder of CertFile, as editors,
// certbot and Kubernetes' volumes do; a pair that does not match is not taken,
// and the one before stays. Streams are not cut.
type ClientsTLS struct {
	CertFile, KeyFile string // PEM, with the chain
	Dir               string // where WriteSecrets puts what names them to Envoy
}

const secretClientsCert = "aig_clients_cert"

// WriteSecrets writes the file that Envoy reads the names of the certificate
// from. It holds no key. It is called before Envoy starts.
func (c ClientsTLS) WriteSecrets() error {
	return writeSecret(c.Dir, &tlsv3.Secret{Name: secretClientsCert, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
		CertificateChain: filename(c.CertFile), PrivateKey: filename(c.KeyFile),
		WatchedDirectory: &corev3.WatchedDirectory{Path: filepath.Dir(c.CertFile)},
	}}})
}

// clientsTLS is how the chain of that name is served; nil: in clear. TLS 1.2 and
// later, and of 1.2 only ciphers with forward secrecy and authentication, which
// are Envoy's own choice.
func (b *builder) clientsTLS(chain string) *corev3.TransportSocket {
	if b.c.ClientsTLS == nil {
		return nil
	}
	protocol := "http/1.1"
	if chain == "http2" {
		protocol = "h2"
	}
	return &corev3.TransportSocket{
		Name: "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: b.any(&tlsv3.DownstreamTlsContext{
			CommonTlsContext: &tlsv3.CommonTlsContext{
				TlsParams: &tlsv3.TlsParameters{
					TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_2, TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
				},
				AlpnProtocols:                  []string{protocol},
				TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{fileSecret(b.c.ClientsTLS.Dir, secretClientsCert)},
			},
		})},
	}
}
