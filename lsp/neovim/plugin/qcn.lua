-- Commands; they load the rest only when they are used.
if vim.g.loaded_qcn or vim.fn.has("nvim-0.11") == 0 then
  return
end
vim.g.loaded_qcn = true

local function command(name, desc, run)
  vim.api.nvim_create_user_command(name, run, { desc = desc })
end

command("QcnStatus", "What the daemon of qcn-agent does", function()
  require("qcn.status").show()
end)
command("QcnToggle", "Ghost text on or off", function()
  require("qcn").toggle()
end)
vim.api.nvim_create_user_command("QcnTrust", function(order)
  require("qcn").trust(order.bang)
end, { bang = true, desc = "Trust the folder of this file; with a bang no more" })
command("QcnFixDiagnostic", "Let qcn-agent fix the diagnostic at the cursor", function()
  require("qcn.fix").diagnostic()
end)
