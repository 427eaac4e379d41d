package envoy

import _ "embed" // the script

// luaSource is the script of FilterLua. It travels inline in the bootstrap, so
// there is no file to deploy and no skew with the codec in this package.
//
//go:embed filter.lua
var luaSource string

// inflateSource stands in front of it.
//
//go:embed inflate.lua
var inflateSource string
