// Package webui serves the page that people open: static files under /ui/, a
// sign-in, by a key or by an issuer (OpenID Connect), that gives a cookie and is kept
// over a restart, and, to who has that cookie, the REST API under /ui/api/ with the
// rights of that sign-in.
//
// It knows no money and no report: the page shows what REST answers. The files in
// page are served as they are; there is no build.
package webui
