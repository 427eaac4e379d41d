package envoy

import (
	"fmt"
	"os"
	"path/filepath"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// ControlTLS are the files by which Envoy proves itself to the control plane,
// and knows it. Envoy reads them again when one is renamed into place.
type ControlTLS struct {
	CertFile, KeyFile string // Envoy's own; PEM
	CAFile            string // signed the control plane's
	Dir               string // where WriteSecrets puts what names them to Envoy
}

// Names of the two secrets and, with .json, of their files in Dir.
const (
	secretControlCert = "aig_control_cert"
	secretControlCA   = "aig_control_ca"
)

// WriteSecrets writes the two files that Envoy reads the names of the
// certificates from: only a secret that is watched can be renewed. They hold no
// key. It is called before Envoy starts.
func (c ControlTLS) WriteSecrets() error {
	for _, s := range []*tlsv3.Secret{
		{Name: secretControlCert, Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
			CertificateChain: filename(c.CertFile), PrivateKey: filename(c.KeyFile),
		}}},
		{Name: secretControlCA, Type: &tlsv3.Secret_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
			TrustedCa: filename(c.CAFile),
		}}},
	} {
		if err := writeSecret(c.Dir, s); err != nil {
			return err
		}
	}
	return nil
}

// writeSecret writes a secret as Envoy reads it from a file of that name in dir.
func writeSecret(dir string, s *tlsv3.Secret) error {
	item, err := anypb.New(s)
	if err != nil {
		return fmt.Errorf("write Envoy's secrets: %w", err)
	}
	text, err := stableJSON(&discoveryv3.DiscoveryResponse{Resources: []*anypb.Any{item}})
	if err != nil {
		return err
	}
	if err := os.WriteFile(secretPath(dir, s.GetName()), text, 0o600); err != nil {
		return fmt.Errorf("write Envoy's secrets: %w", err)
	}
	return nil
}

func secretPath(dir, name string) string { return filepath.Join(dir, name+".json") }

// fileSecret is where Envoy finds a secret that writeSecret wrote.
func fileSecret(dir, name string) *tlsv3.SdsSecretConfig {
	return &tlsv3.SdsSecretConfig{Name: name, SdsConfig: &corev3.ConfigSource{
		ResourceApiVersion:    corev3.ApiVersion_V3,
		ConfigSourceSpecifier: &corev3.ConfigSource_PathConfigSource{PathConfigSource: &corev3.PathConfigSource{Path: secretPath(dir, name)}},
	}}
}

func filename(path string) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_Filename{Filename: path}}
}

// secureControl makes a control cluster prove itself, and believe no other.
func (b *builder) secureControl(c *clusterv3.Cluster) {
	if b.c.ControlTLS == nil {
		return
	}
	secret := func(name string) *tlsv3.SdsSecretConfig { return fileSecret(b.c.ControlTLS.Dir, name) }
	c.TransportSocket = &corev3.TransportSocket{
		Name: "envoy.transport_sockets.tls",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: b.any(&tlsv3.UpstreamTlsContext{
			CommonTlsContext: &tlsv3.CommonTlsContext{
				TlsParams: &tlsv3.TlsParameters{
					TlsMinimumProtocolVersion: tlsv3.TlsParameters_TLSv1_3, TlsMaximumProtocolVersion: tlsv3.TlsParameters_TLSv1_3,
				},
				AlpnProtocols:                  []string{"h2"},
				TlsCertificateSdsSecretConfigs: []*tlsv3.SdsSecretConfig{secret(secretControlCert)},
				ValidationContextType: &tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig{
					ValidationContextSdsSecretConfig: secret(secretControlCA),
				},
			},
		})},
	}
}
