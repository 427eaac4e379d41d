package gatewayconfig

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"aigateway/envoy"
)

// validator turns a decoded file into a Config and reports what is wrong.
type validator struct {
	*decoder
	secrets *secretSource
	dir     string // of the file
}

// config fills in c, prices last.
func (v *validator) config(f *file, c *Config) {
	c.DataDir, c.TimeZone = v.dataDir(f.DataDir), v.zone(f.TimeZone)
	c.Listen = v.listen(f.Listen, c.DataDir)
	v.certificates(c, f.Listen)
	c.MaxBodyBytes = v.within("limits.max_body_bytes", int64(f.Limits.MaxBodyBytes), 1<<10, 32<<20)
	c.MaxConnections = v.within("limits.connections", f.Limits.Connections, 1, 1_000_000)
	c.MaxStreams = v.within("limits.streams_per_connection", f.Limits.StreamsPerConnection, 1, 10_000)
	c.AddressRate = v.within("limits.requests_per_address", f.Limits.RequestsPerAddress, 0, 1_000_000)
	if f.Limits.EnvoyMemory != 0 {
		c.EnvoyMemory = v.within("limits.envoy_memory", int64(f.Limits.EnvoyMemory), 128<<20, 1<<40)
	}
	c.Streams = Streams{
		IdleTimeout: v.between("streams.idle_timeout", f.Streams.IdleTimeout, time.Second, time.Hour),
		MaxDuration: v.between("streams.max_duration", f.Streams.MaxDuration, time.Second, 24*time.Hour),
	}
	c.Drain = Drain{Accept: v.between("drain.accept", f.Drain.Accept, 0, 10*time.Minute), Timeout: c.Streams.MaxDuration}
	if f.Drain.Timeout != 0 {
		c.Drain.Timeout = v.between("drain.timeout", f.Drain.Timeout, time.Second, 24*time.Hour)
	}
	c.ReservationTimeout = v.between("reservations.timeout", f.Reservations.Timeout, 5*time.Second, 24*time.Hour)
	c.MaxWait = v.between("reservations.max_wait", f.Reservations.MaxWait, 0, time.Minute)
	c.MinInsertedCap = v.within("reservations.min_inserted_cap", f.Reservations.MinInsertedCap, 0, 1<<20)
	c.Retention = Retention{
		CallsDays:   v.within("retention.calls_days", f.Retention.CallsDays, 2, 3650),
		UsageMonths: v.within("retention.usage_months", f.Retention.UsageMonths, 2, 1200),
	}
	c.Store = v.store(f.Store)
	c.Envoy = Envoy{
		Path:        v.envoyPath(f.Envoy.Path),
		Concurrency: v.within("envoy.concurrency", f.Envoy.Concurrency, 0, 1024),
	}
	c.AdminKey = v.adminKey(string(f.AdminKey))
	c.LogFormat = f.LogFormat
	if c.LogFormat != "text" && c.LogFormat != "json" {
		v.fail("log_format", "is %s; write text or json", shown(c.LogFormat))
	}
	c.OTLP = v.otlp(f.OTLP)
	c.OIDC = v.oidc(f.OIDC)
	c.Providers = v.providers(f.Providers, c.Listen)
	c.AllowedOrigins = v.origins(f.CORS.AllowedOrigins)
	if v.secrets.strict {
		v.modelsOfProviders(f)
	}
	v.order(f.ProviderOrder, c.Providers)
	c.SystemCA = v.systemCA(f.TLS.CAFile, c.Providers)
	c.GCPMetadata = v.gcpMetadata(c.Providers)
	c.Catalog = v.catalog(f, c)
}

// order says which provider serves a name without one, where several have it.
func (v *validator) order(names []string, providers []Provider) {
	for i, name := range names {
		at := slices.IndexFunc(providers, func(p Provider) bool { return p.Name == name })
		switch {
		case at < 0:
			var known []string
			for _, p := range providers {
				known = append(known, p.Name)
			}
			v.fail("provider_order", "holds %s, which is not under providers%s", shown(name), suggest(name, known))
		case providers[at].Upstream.Order > 0:
			v.fail("provider_order", "holds %s twice", name)
		default:
			providers[at].Upstream.Order = i + 1
		}
	}
}

// modelsOfProviders refuses prices of providers that there are not: they would
// price nothing, and a misspelt one leaves its model without a price.
func (v *validator) modelsOfProviders(f *file) {
	if len(f.Providers) == 0 || f.Models == nil || f.Models.Kind != yaml.SequenceNode {
		return
	}
	names := slices.Sorted(maps.Keys(f.Providers))
	for i, row := range f.Models.Content {
		for j := 0; row.Kind == yaml.MappingNode && j+1 < len(row.Content); j += 2 {
			if value := row.Content[j+1]; row.Content[j].Value == "model" && value.Kind == yaml.ScalarNode {
				provider, _, found := strings.Cut(value.Value, "/")
				if found && !slices.Contains(names, provider) {
					v.add(placeOf(value), fmt.Sprintf("models[%d].model", i), "is of the provider %s, which is not under providers%s", shown(provider), suggest(provider, names))
				}
			}
		}
	}
}

func (v *validator) dataDir(path string) string {
	if path == "" {
		path = DataDir(v.secrets.getenv)
	}
	if path == "" {
		v.fail("data_dir", "is not set and none of %s, XDG_DATA_HOME and HOME names a folder to default to; set data_dir", EnvDataDir)
		return ""
	}
	return v.absolute("data_dir", path)
}

// envoyPath wants a program there.
func (v *validator) envoyPath(path string) string {
	path = v.absolute("envoy.path", path)
	if path == "" || !v.secrets.strict {
		return path
	}
	switch info, err := os.Stat(path); {
	case err != nil:
		v.fail("envoy.path", "%v; leave it out to take one on PATH or of: aigateway envoy install", err)
	case !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0:
		v.fail("envoy.path", "%s is no program; name the envoy binary, or leave it out to take one on PATH or of: aigateway envoy install", path)
	}
	return path
}

func (v *validator) zone(name string) *time.Location {
	location, err := time.LoadLocation(name)
	if err != nil || name == "Local" || name == "" {
		// Local would move budgets' month boundaries with the machine.
		v.fail("time_zone", "is %s, which is no time zone; write an IANA name such as UTC or Europe/Berlin", shown(name))
		return time.UTC
	}
	return location
}

func (v *validator) listen(l fileListen, dataDir string) Listen {
	if l.Control == "" {
		l.Control = "unix:" + filepath.Join(dataDir, envoy.FileControlSocket)
	}
	if l.EnvoyAdmin == "" {
		l.EnvoyAdmin = "unix:" + filepath.Join(dataDir, "envoy-admin.sock")
	}
	used := map[string]string{}
	check := func(field, address string, socket bool) string {
		address = v.address("listen."+field, address, socket)
		// Port 0 is chosen by the system, so two of them do not collide.
		if other, taken := used[address]; taken && address != "" && !strings.HasSuffix(address, ":0") {
			v.fail("listen."+field, "is the same address as listen.%s; give each its own", other)
		}
		used[address] = field
		return address
	}
	out := Listen{
		ControlGroup: l.ControlGroup, ControlTLS: v.controlTLS(l.ControlTLS),
		Clients:    check("clients", l.Clients, false),
		REST:       check("rest", l.REST, false),
		GRPC:       check("grpc", l.GRPC, false),
		Control:    check("control", l.Control, true),
		EnvoyAdmin: check("envoy_admin", l.EnvoyAdmin, true),
	}
	v.control(out)
	return out
}

// control refuses to hand the providers' keys, or Envoy itself, to whoever connects.
func (v *validator) control(l Listen) {
	if beyondLoopback(l.EnvoyAdmin) {
		v.fail("listen.envoy_admin", "is %s, and whoever connects there can stop Envoy, without a key; use a socket (remove it), or 127.0.0.1:PORT", l.EnvoyAdmin)
	}
	socket := strings.HasPrefix(l.Control, "unix:")
	if beyondLoopback(l.Control) && !l.ControlTLS.Set() {
		v.fail("listen.control", "is %s, and whoever connects there gets every provider's key; use a socket (remove it), or set listen.control_tls, so that only Envoy can", l.Control)
	}
	if l.ControlGroup != "" && !socket {
		v.fail("listen.control_group", "is for a socket, and listen.control is %s; remove one", l.Control)
	}
}

// beyondLoopback reports whether other machines may connect to an address.
func beyondLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && !strings.HasPrefix(address, "unix:") && !loopback(host)
}

func (v *validator) controlTLS(f fileControlTLS) ControlTLS {
	t := ControlTLS{
		CAFile:        v.absolute("listen.control_tls.ca_file", f.CAFile),
		CertFile:      v.absolute("listen.control_tls.cert_file", f.CertFile),
		KeyFile:       v.absolute("listen.control_tls.key_file", f.KeyFile),
		EnvoyCertFile: v.absolute("listen.control_tls.envoy_cert_file", f.EnvoyCertFile),
		EnvoyKeyFile:  v.absolute("listen.control_tls.envoy_key_file", f.EnvoyKeyFile),
	}
	if t.Set() && (t.CAFile == "" || t.CertFile == "" || t.KeyFile == "" || t.EnvoyCertFile == "" || t.EnvoyKeyFile == "") {
		v.fail("listen.control_tls", "needs all of ca_file, cert_file, key_file, envoy_cert_file and envoy_key_file")
	}
	return t
}

// maxSocketPath is what fits sockaddr_un on Linux, with its zero byte.
const maxSocketPath = 107

func (v *validator) address(field, address string, socket bool) string {
	path, isSocket := strings.CutPrefix(address, "unix:")
	if isSocket && socket {
		path = v.absolute(field, path)
		if path == "" || len(path) > maxSocketPath {
			v.fail(field, "is a socket path of %d bytes, and 1 to %d fit; use a shorter data_dir, or 127.0.0.1:PORT", len(path), maxSocketPath)
		}
		return "unix:" + path
	}
	host, port, err := net.SplitHostPort(address)
	number, numberErr := strconv.ParseUint(port, 10, 16)
	if err != nil || numberErr != nil || net.ParseIP(host) == nil {
		form := "IP:PORT, such as 127.0.0.1:8081"
		if socket {
			form += ", or unix:/PATH"
		}
		v.fail(field, "is %s; write %s", shown(address), form)
		return ""
	}
	return net.JoinHostPort(host, strconv.FormatUint(number, 10))
}

func (v *validator) within(field string, n, low, high int64) int64 {
	if n < low || n > high {
		v.fail(field, "is %d; write %d to %d", n, low, high)
	}
	return n
}

func (v *validator) between(field string, d, low, high time.Duration) time.Duration {
	if d < low || d > high {
		v.fail(field, "is %v; write %v to %v", d, low, high)
	}
	return d
}

// The admin key is a key like any other, so it starts like one; its length
// keeps the key that may do everything from being guessed.
const (
	keyPrefix   = "sk-aig-"
	minAdminKey = len(keyPrefix) + 20
)

func (v *validator) adminKey(text string) Secret {
	key := v.secret("admin_key", text)
	if !key.Empty() && (!strings.HasPrefix(key.text, keyPrefix) || len(key.text) < minAdminKey || strings.ContainsRune(key.text, ' ')) {
		v.fail("admin_key", "must be %s and at least %d more characters without spaces; make one with: echo %s$(openssl rand -hex 24)", keyPrefix, minAdminKey-len(keyPrefix), keyPrefix)
	}
	return key
}

// secret resolves a secret field.
func (v *validator) secret(field, text string) Secret {
	if v.secrets.skip && field != v.secrets.but {
		return Secret{}
	}
	resolved, err := v.secrets.resolve(text)
	if err != nil {
		v.fail(field, "%v", err)
		return Secret{}
	}
	return Secret{resolved}
}

// maxCABytes fits every bundle in use several times over.
const maxCABytes = 4 << 20

// caFile reads a PEM bundle and checks that it holds certificates alone that are
// whole: an empty bundle would refuse every connection, much later, and Envoy refuses
// all of a configuration for one that is damaged.
func (v *validator) caFile(field, path string) []byte {
	path = v.absolute(field, path)
	if path == "" {
		return nil
	}
	data, err := v.secrets.sources.read(path, maxCABytes)
	if err != nil {
		v.fail(field, "%v", err)
		return nil
	}
	if !x509.NewCertPool().AppendCertsFromPEM(data) {
		v.fail(field, "%s holds no certificate; it must be PEM", path)
		return nil
	}
	whole, damaged := certificates(data)
	if damaged > 0 {
		v.fail(field, "%d of the certificates in %s are damaged or cut off; copy the file anew", damaged, path)
		return nil
	}
	return whole
}

// certificates drops everything else, so that a private key kept in the same file
// never travels, and counts those that are damaged.
func certificates(data []byte) (whole []byte, damaged int) {
	damaged = bytes.Count(data, []byte("-----BEGIN CERTIFICATE-----"))
	for {
		block, rest := pem.Decode(data)
		if block == nil {
			return whole, damaged
		}
		if block.Type == "CERTIFICATE" && isCertificate(block.Bytes) {
			damaged--
			whole = append(whole, pem.EncodeToMemory(&pem.Block{Type: block.Type, Bytes: block.Bytes})...)
		}
		data = rest
	}
}

// isCertificate looks at the outermost structure alone: Envoy reads some that Go's
// parser does not, such as those with a negative serial number.
func isCertificate(der []byte) bool {
	var c struct {
		ToBeSigned, Algorithm asn1.RawValue
		Signature             asn1.BitString
	}
	rest, err := asn1.Unmarshal(der, &c)
	return err == nil && len(rest) == 0
}

// systemCAFiles are where distributions keep the bundle; the order is that of
// Go's crypto/x509.
func systemCAFiles() []string {
	return []string{
		"/etc/ssl/certs/ca-certificates.crt",
		"/etc/pki/tls/certs/ca-bundle.crt",
		"/etc/ssl/ca-bundle.pem",
		"/etc/pki/tls/cacert.pem",
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
		"/etc/ssl/cert.pem",
	}
}

func (v *validator) systemCA(path string, providers []Provider) []byte {
	if path != "" {
		return v.caFile("tls.ca_file", path)
	}
	needed := slices.ContainsFunc(providers, func(p Provider) bool {
		token := p.OAuth2 != nil && p.OAuth2.TokenURL != nil && p.OAuth2.TokenURL.Scheme == "https"
		return p.BaseURL != nil && p.BaseURL.Scheme == "https" && len(p.CA) == 0 || token
	})
	if !needed {
		return nil
	}
	candidates := systemCAFiles()
	if fromEnv := v.secrets.getenv("SSL_CERT_FILE"); filepath.IsAbs(fromEnv) {
		candidates = slices.Insert(candidates, 0, fromEnv)
	}
	for _, candidate := range candidates {
		data, err := readLimited(candidate, maxCABytes)
		if err == nil && x509.NewCertPool().AppendCertsFromPEM(data) {
			v.secrets.sources.note(candidate, maxCABytes, data, nil)
			whole, _ := certificates(data) // what is damaged there is not this gateway's to mend
			return whole
		}
	}
	v.fail("tls.ca_file", "no CA bundle was found on this machine to verify providers with; install ca-certificates or set tls.ca_file")
	return nil
}
