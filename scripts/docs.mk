docs: all ## write what is generated into the documentation (keys, variables, JSON Schema)
	@mkdir -p docs/schema
	@$(B)/wftrace config schema >docs/schema/wftrace.schema.json
	@for part in keys variables; do $(B)/wftrace config $$part >$(B)/$$part.md; \
	    awk -v part=$$part -v file=$(B)/$$part.md '$$0 == "<!-- end: " part " -->" { skip = 0 } !skip { print } \
	        $$0 == "<!-- generated: " part " -->" { skip = 1; while ((getline line < file) > 0) print line }' \
	        docs/configuration.md >$(B)/configuration.md && cp $(B)/configuration.md docs/configuration.md; done
.PHONY: docs
