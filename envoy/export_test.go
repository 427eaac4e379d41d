package envoy

import "encoding/base64"

// LuaSource is the script as embedded.
func LuaSource() string { return luaSource }

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
