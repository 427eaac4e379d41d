package envoy

// LuaSource is the script as embedded.
func LuaSource() string { return luaSource }
