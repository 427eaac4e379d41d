package envoy

import "encoding/base64"

const (
	HeaderAnswer = headerAnswer
	MaxCapture   = maxCapture
	MaxUsage     = maxUsage
	MaxEvent     = maxEvent
)

// InflateSource is the part that unpacks.
var InflateSource = inflateSource

// LuaSource is the script as embedded.
func LuaSource() string { return inflateSource + luaSource }

// BootstrapWithLua is Bootstrap with another script, for what a broken one does.
func BootstrapWithLua(lua string) func(BootstrapConfig) ([]byte, error) {
	return func(c BootstrapConfig) ([]byte, error) {
		b := builder{c: c.withDefaults(), lua: lua}
		boot := b.bootstrap()
		if b.err != nil {
			return nil, b.err
		}
		return stableJSON(boot)
	}
}

// SealRaw seals any payload.
func SealRaw(s *Sealer, payload []byte) string {
	st := s.macs.Get().(*sealState)
	defer s.macs.Put(st)
	return base64.RawURLEncoding.EncodeToString(append(append([]byte{}, payload...), st.tag(payload)...))
}

// ViaUpstream reports whether Code was the provider's own answer, or our
// replacement of it (see Report.UpstreamStatus), and not one of Envoy's.
func (l *LogLine) ViaUpstream() bool {
	return l.Details == "via_upstream" || l.UpstreamStatus != 0
}

// Cut reports whether the exchange ended other than by its own end: the client
// left, the provider's connection broke, a timer ran out (Envoy sets no flag
// for its longest duration), or Envoy answered itself.
func (l *LogLine) Cut() bool { return l.Flags != "" || l.Details != "via_upstream" }
