{{- define "aigateway.name" -}}{{ if contains .Chart.Name .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-{{ .Chart.Name }}{{ end }}{{- end }}

{{- define "aigateway.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "aigateway.labels" -}}
{{ include "aigateway.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "aigateway.image" -}}
{{ .Values.image.repository }}{{ if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "aigateway.config" -}}
{{- $listen := dict "clients" "0.0.0.0:8080" "rest" "0.0.0.0:8081" "grpc" "127.0.0.1:8082" "control" "unix:/run/aigateway/control.sock" "envoy_admin" "unix:/run/aigateway/envoy-admin.sock" }}
{{- if .Values.tls.existingSecret }}
{{- $_ := set $listen "tls" (dict "cert_file" "/etc/aigateway-tls/tls.crt" "key_file" "/etc/aigateway-tls/tls.key") }}
{{- end }}
{{- if .Values.adminTLS.existingSecret }}
{{- $_ := set $listen "admin_tls" (dict "cert_file" "/etc/aigateway-admin-tls/tls.crt" "key_file" "/etc/aigateway-admin-tls/tls.key" "ca_file" "/etc/aigateway-admin-tls/ca.crt") }}
{{- end }}
{{- $config := merge (dict "listen" $listen "data_dir" "/var/lib/aigateway") .Values.config }}
{{- if .Values.adminKey.existingSecret }}
{{- $_ := set $config "admin_key" "${AIGATEWAY_ADMIN_KEY}" }}
{{- end }}
{{- if .Values.postgres.existingSecret }}
{{- $store := dict "postgres" "${AIGATEWAY_POSTGRES}" "durability" (required "postgres.durability: say what keeps a commit when the primary is lost: single_node, shared_storage or synchronous_standby" .Values.postgres.durability) "max_stale" .Values.postgres.maxStale }}
{{- if ne .Values.kind "StatefulSet" }}
{{- $_ := set $store "forget_after" .Values.postgres.forgetAfter }}
{{- end }}
{{- $_ := set $config "store" $store }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{- define "aigateway.seconds" -}}
{{- $d := . -}}
{{- if regexMatch "^[0-9]+s$" $d }}{{ trimSuffix "s" $d }}{{ else if regexMatch "^[0-9]+m$" $d }}{{ mul 60 (trimSuffix "m" $d | int) }}{{ else if regexMatch "^[0-9]+h$" $d }}{{ mul 3600 (trimSuffix "h" $d | int) }}{{ else }}{{ fail (printf "config.drain: %q: write whole seconds, minutes or hours, such as 90s, 5m or 1h" $d) }}{{ end }}
{{- end }}

{{- define "aigateway.container" -}}
image: {{ include "aigateway.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{- define "aigateway.mounts" -}}
- {name: config, mountPath: /etc/aigateway, readOnly: true}
- {name: data, mountPath: /var/lib/aigateway}
- {name: run, mountPath: /run/aigateway}
- {name: tmp, mountPath: /tmp}
{{- if .Values.tls.existingSecret }}
- {name: tls, mountPath: /etc/aigateway-tls, readOnly: true}
{{- end }}
{{- if .Values.adminTLS.existingSecret }}
- {name: admin-tls, mountPath: /etc/aigateway-admin-tls, readOnly: true}
{{- end }}
{{- end }}

{{- define "aigateway.volume" -}}
accessModes: [{{ .Values.persistence.accessMode }}]
{{- with .Values.persistence.storageClassName }}
storageClassName: {{ . }}
{{- end }}
resources: {requests: {storage: {{ .Values.persistence.size }}}}
{{- end }}

{{- define "aigateway.adminScheme" -}}
{{ if .Values.adminTLS.existingSecret }}https{{ else }}http{{ end }}
{{- end }}

{{- define "aigateway.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{/* What a command needs to ask the admin API by its service. */}}
{{- define "aigateway.client" -}}
env:
- {name: AIGATEWAY_URL, value: "{{ include "aigateway.adminScheme" . }}://{{ include "aigateway.name" . }}-admin:8081"}
- name: AIGATEWAY_API_KEY
  valueFrom: {{ include "aigateway.adminKey" . }}
{{- if .Values.adminTLS.existingSecret }}
- {name: SSL_CERT_FILE, value: /etc/aigateway-admin-tls/ca.crt}
volumeMounts:
- {name: admin-ca, mountPath: /etc/aigateway-admin-tls, readOnly: true}
{{- end }}
{{- end }}

{{- define "aigateway.adminKey" -}}
{secretKeyRef: {name: {{ .Values.adminKey.existingSecret }}, key: {{ .Values.adminKey.key }}}}
{{- end }}
