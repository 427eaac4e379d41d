// Package chart tests deploy/helm/aigateway, by Helm as a library. It is a module of
// its own: what Helm needs is not what the gateway needs.
package chart
