package envoy

import (
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	gcpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/gcp_authn/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// TokenTimeout is how long a token service may take to answer.
const TokenTimeout = 5 * time.Second

// gcpTokens is FilterGCP: it adds an access token to requests whose cluster's
// metadata has an audience under FilterGCP's name, and touches no other. A
// cluster cannot have it, as Envoy has it for listeners only.
func gcpTokens() *gcpv3.GcpAuthnFilterConfig {
	return &gcpv3.GcpAuthnFilterConfig{
		Cluster: ClusterGCPMetadata, Timeout: durationpb.New(TokenTimeout),
		RetryPolicy: &corev3.RetryPolicy{NumRetries: wrapperspb.UInt32(2)},
		CacheConfig: &gcpv3.TokenCacheConfig{CacheSize: wrapperspb.UInt64(16)},
	}
}

// RequireCredential is the HTTP filter of a provider's cluster that answers a
// request without Authorization in the provider's place. FilterGCP and Envoy's
// signer let a request pass when they have nothing to add; the injector of
// tokens does not.
func RequireCredential() *luav3.Lua {
	return lua(`function envoy_on_request(h)
  if h:headers():get("authorization") == nil then h:respond({ [":status"] = "503" }, "") end
end
`)
}

// detailsNoCredential are the response code details of requests that had none:
// of RequireCredential, which alone answers from Lua, and of the injector.
const detailsNoCredential = `(response.code_details == "lua_response" || response.code_details == "failed_to_inject_credential")`

// CheckToken is the HTTP filter of a token service's cluster. Envoy 1.40 never
// asks again after a 200 in which it finds no token, and asks without pause for
// one that lasts no second: both become errors here, which it asks again after.
// Envoy also logs an error's body, of which only the error's code is left.
func CheckToken() *luav3.Lua { return lua(checkToken) }

// maxToken is far above any token and below what a server takes as a header.
const maxToken = 16 << 10

var checkToken = `
local match = string.match
function envoy_on_response(h)
  local body = h:body(true)
  local text = body:getBytes(0, math.min(body:length(), ` + strconv.Itoa(4*maxToken) + `))
  local ok = h:headers():get(":status") == "200"
  local token = ok and match(text, '"access_token"%s*:%s*"([%w%-%._~%+/]+=*)"')
  local seconds = ok and tonumber(match(text, '"expires_in"%s*:%s*"?(%d+)') or "0") or 0
  if token and #token <= ` + strconv.Itoa(maxToken) + ` and seconds >= 2 and seconds <= 31536000 then
    body:setBytes('{"access_token":"' .. token .. '","expires_in":' .. string.format("%d", seconds) .. ',"token_type":"Bearer"}')
    return
  end
  if ok then h:headers():replace(":status", "502") end
  local code = match(text, '"error"%s*:%s*"([%w_]+)"') or "no token"
  body:setBytes(code .. " " .. (match(text, "AADSTS%d+") or ""))
end
`

// lua is a filter whose script leaves a request on the route it has: Envoy would
// else look for one again after each change of a header.
func lua(source string) *luav3.Lua {
	return &luav3.Lua{
		DefaultSourceCode: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: source}},
		ClearRouteCache:   wrapperspb.Bool(false),
	}
}
