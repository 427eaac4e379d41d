// Package strictyaml reads YAML as people write it in configuration: one
// document of UTF-8, no key twice, no merge keys, aliases that stay small, and
// for all that is wrong the line, the column and what to write instead. It says
// nothing about what the keys mean: package gatewayconfig decodes the
// configuration, package pricing the price rows.
package strictyaml
