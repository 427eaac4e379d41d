package gatewayconfig

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
)

// certificates reads what clients and the admin API are served with, so that a
// pair that does not match is told with its field, and a renewed one is noticed.
func (v *validator) certificates(c *Config, f fileListen) {
	c.Listen.TLS, _ = v.serverTLS("listen.tls", f.TLS.CertFile, f.TLS.KeyFile)
	if f.AdminTLS == (fileAdminTLS{}) {
		return
	}
	var leaf *x509.Certificate
	c.Listen.AdminTLS, leaf = v.serverTLS("listen.admin_tls", f.AdminTLS.CertFile, f.AdminTLS.KeyFile)
	if f.AdminTLS.CAFile == "" {
		v.fail("listen.admin_tls.ca_file", "is missing; name the certificates that signed cert_file, or cert_file itself where nobody did: Envoy and the commands of this machine know the gateway by it")
		return
	}
	if leaf == nil { // what is wrong is told
		return
	}
	c.AdminCA = v.caFile("listen.admin_tls.ca_file", f.AdminTLS.CAFile)
	switch {
	case len(leaf.DNSNames) > 0:
		c.AdminName = leaf.DNSNames[0]
	case len(leaf.IPAddresses) > 0:
		c.AdminName = leaf.IPAddresses[0].String()
	default:
		v.fail("listen.admin_tls.cert_file", "%s is for no name and no address; make one with a subject alternative name", c.Listen.AdminTLS.CertFile)
	}
}

// leafOf is a file's first certificate; nil if there is none.
func leafOf(path string) *x509.Certificate {
	text, err := readLimited(path, maxCABytes)
	if err != nil {
		return nil
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil
	}
	return leaf
}

// serverTLS returns the leaf too, if it can be read.
func (v *validator) serverTLS(field, certFile, keyFile string) (ServerTLS, *x509.Certificate) {
	t := ServerTLS{CertFile: v.absolute(field+".cert_file", certFile), KeyFile: v.absolute(field+".key_file", keyFile)}
	if !t.Set() {
		return t, nil
	}
	if t.CertFile == "" || t.KeyFile == "" {
		v.fail(field, "needs both cert_file and key_file")
		return t, nil
	}
	if v.secrets.skip { // another user may read the configuration, and no keys
		return t, leafOf(t.CertFile)
	}
	cert, err := v.secrets.sources.read(t.CertFile, maxCABytes)
	if err != nil {
		v.fail(field+".cert_file", "%v", err)
		return t, nil
	}
	key, err := v.secrets.sources.read(t.KeyFile, maxCABytes)
	if err != nil {
		v.fail(field+".key_file", "%v", err)
		return t, nil
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		v.fail(field, "the pair of %s and %s cannot be used: %v", t.CertFile, t.KeyFile, err)
		return t, nil
	}
	return t, pair.Leaf
}
