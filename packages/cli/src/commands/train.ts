import { Command } from 'commander';
import { runTraining } from '../training.ts';

export function trainCommand(): Command {
  return trainingCommand('train', 'train')
    .description('Train a split model (PyTorch).')
    .addHelpText(
      'after',
      `
Needs packages/training/.venv: npx nx run training:setup makes it. Every option: raccoon train -- --help
The same command resumes a run that was stopped. The examples have the data folder beside the repository.

Examples:
  raccoon train --data ../shared/data/imagenet20 --run runs/universal \\
      --weights ../shared/weights/mobilenet_v2_imagenet1k.safetensors
  raccoon train --data ../shared/data/imagenet20 --run runs/smoke --limit 320 --head-start 1 --epochs 1 \\
      --weights ../shared/weights/mobilenet_v2_imagenet1k.safetensors`,
    );
}

export function trainClassifierCommand(): Command {
  return trainingCommand('train-classifier', 'train-classifier')
    .description('Train an unsplit ResNet from scratch, to be split afterwards (PyTorch).')
    .addHelpText(
      'after',
      `
Its weights.safetensors goes to raccoon train --weights. Needs packages/training/.venv: npx nx run training:setup makes it.
Every option: raccoon train-classifier -- --help
The same command resumes a run that was stopped.

Example:
  raccoon train-classifier --depth 18 --data ../shared/data/imagenet20 --run runs/resnet18`,
    );
}

export function trainPaperCommand(): Command {
  return trainingCommand('train-paper', 'train-paper')
    .description("Train one of the paper's models, or its baseline (PyTorch).")
    .addHelpText(
      'after',
      `
One network for each N and lambda. --weights is a ResNet-18, 34 or 50 in torchvision's layout; without it the network is
trained from scratch. raccoon bundle import turns the checkpoint into a bundle. Needs packages/training/.venv:
npx nx run training:setup makes it. Every option: raccoon train-paper -- --help
The same command resumes a run that was stopped.

Examples:
  raccoon train-paper --model paper-n4 --lambda 1.28 --data imagenet --weights resnet50.pth --run runs/n4
  raccoon train-paper --model entropic-student --lambda 0.32 --data imagenet --weights resnet50.pth --run runs/student
  raccoon train-paper --model paper-n0 --lambda 0.64 --depth 18 --data ../shared/data/imagenet20 --run runs/n0`,
    );
}

export function exportCommand(): Command {
  return trainingCommand('export', 'export')
    .description('Write a trained run as a bundle, checked against ONNX Runtime.')
    .addHelpText(
      'after',
      `
Needs packages/training/.venv: npx nx run training:setup makes it. Every option: raccoon export -- --help
The example has the data folder beside the repository.

Example:
  raccoon export --run runs/universal --out bundles/my-mobilenet --data ../shared/data/imagenet20 \\
      --weights ../shared/weights/mobilenet_v2_imagenet1k.safetensors \\
      --classes ../shared/reference/imagenet1k-classes.json`,
    );
}

export function shrinkCommand(): Command {
  return trainingCommand('shrink', 'shrink')
    .description("Shrink a bundle's encoder to so many milliseconds on this device (PyTorch).")
    .addHelpText(
      'after',
      `
Removes the filters that matter least, where that saves the most measured time; the same cloud serves what comes out.
--data are photos, without labels. Needs packages/training/.venv: npx nx run training:setup makes it.
Every option: raccoon shrink -- --help

Examples:
  raccoon shrink --bundle bundles/imagenet1k-mobilenet --data ../shared/data/imagenet20 --budget-ms 1.36,2.2 \\
      --out bundles/shrunk                          bundles/shrunk-1360us and -2200us
  raccoon shrink --bundle bundles/imagenet1k-mobilenet --data photos --budget-ms 2 --epochs 0 \\
      --costs raspberry.json --out bundles/small    no fine-tuning, times of another device`,
    );
}

export function compoundCommand(): Command {
  return trainingCommand('compound', 'compound')
    .description('Depth, width and resolution of an encoder for a budget, to be trained (PyTorch).')
    .addHelpText(
      'after',
      `
--samples is a JSON file of measured networks, each shrunk in one dimension:
  {"base": {"macs": 138e6, "top1": 66}, "depth": [{"macs": 77e6, "top1": 64.7}, ...], "width": [...], "resolution": [...]}
Needs packages/training/.venv: npx nx run training:setup makes it. Every option: raccoon compound -- --help

Examples:
  raccoon compound --bundle bundles/imagenet1k-mobilenet --samples samples.json --macs 40e6 80e6
  raccoon compound --bundle bundles/imagenet1k-mobilenet --samples samples.json --budget-ms 1.5 --json`,
    );
}

export function importCommand(): Command {
  return trainingCommand('import', 'bundle import')
    .description("Turn a checkpoint in the reference implementation's layout into a bundle.")
    .addHelpText(
      'after',
      `
Reads a state dict with bottleneck_layer.encoder.*, .decoder.*, .entropy_bottleneck.*, layer2 ... layer4 and fc; --data
are photos for the expected rate, --classes is a JSON list of {wnid, name}, --stem the unsplit network, if it has the
same classifier. Needs packages/training/.venv: npx nx run training:setup makes it.
Every option: raccoon bundle import -- --help

Examples:
  raccoon bundle import --checkpoint model.pt --data photos --classes classes.json --licence MIT --out bundles/mine
  raccoon bundle import --checkpoint model.pt --stem resnet50.pth --data photos --classes classes.json \\
      --licence MIT --out bundles/mine`,
    );
}

/** A command of the training package. What follows it is the package's own, but for a leading --help. */
function trainingCommand(command: string, name: string): Command {
  return new Command(command)
    .argument('[options...]', "the training package's options")
    .allowUnknownOption()
    .passThroughOptions()
    .action(async (args: string[]) => {
      process.exitCode = await runTraining(name, command, args);
    });
}
