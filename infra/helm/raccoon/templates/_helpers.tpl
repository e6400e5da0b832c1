{{- define "raccoon.name" -}}
{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- end }}

{{- define "raccoon.selector" -}}
app.kubernetes.io/name: raccoon
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "raccoon.labels" -}}
{{ include "raccoon.selector" . }}
app.kubernetes.io/component: cloud
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- /* Whole processors of the limit. */ -}}
{{- define "raccoon.processors" -}}
{{- $cpu := toString .Values.resources.limits.cpu -}}
{{- if hasSuffix "m" $cpu -}}
{{ div (int (trimSuffix "m" $cpu)) 1000 }}
{{- else -}}
{{ int (float64 $cpu) }}
{{- end -}}
{{- end }}

{{- define "raccoon.workers" -}}
{{- $processors := int (include "raccoon.processors" .) -}}
{{- if lt $processors 1 -}}
{{ fail "resources.limits.cpu must be 1 or more: a worker needs a processor" }}
{{- end -}}
{{- if gt (int .Values.workers) $processors -}}
{{ fail (printf "workers: %d do not fit into resources.limits.cpu: %d" (int .Values.workers) $processors) }}
{{- end -}}
{{ .Values.workers | default $processors }}
{{- end }}

{{- define "raccoon.readiness" -}}
{{- if or (eq .Values.probes.readiness "http") (and (eq .Values.probes.readiness "auto") .Values.tls.secret) -}}
httpGet: { path: /readyz, port: metrics }
{{- else -}}
{{- if .Values.tls.secret }}{{ fail "probes.readiness: grpc knows no TLS: use auto or http" }}{{ end -}}
grpc: { port: {{ .Values.service.port }}, service: raccoon.v1.Raccoon }
{{- end -}}
{{- end }}
