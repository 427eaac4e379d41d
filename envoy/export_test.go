package envoy

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
