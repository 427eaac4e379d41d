// Package webui serves the page that people open: static files under /ui/, a
// sign-in that turns a key into a cookie, and, to who has that cookie, the REST
// API under /ui/api/ with that key's rights.
//
// It knows no money and no report: the page shows what REST answers. The files in
// page are served as they are; there is no build.
package webui
